"""Configuration of Sphinx: the site is built from this folder and examples/, without a network."""

import os
import sys
from pathlib import Path

import fastnn

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS / "_extensions"))

SECTIONS = "networks", "training", "control", "estimators", "pictures"

# Kernels of notebook pages are processes: they inherit these variables.
os.environ["MATPLOTLIBRC"] = str(DOCS / "matplotlibrc")
os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"

project, author = "fastnn", "The fastnn developers"
copyright = f"2026, {author}"
version = release = fastnn.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_nb",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "links",
    "mathml",
    "notebooks",
    "playground",
    "built_pages",  # after what writes the site
    "public_members",
    "registries",
    "thumbnails",
]
exclude_patterns = ["_build", "_extensions", "gallery/**/*.ipynb"]
templates_path = ["_templates"]
default_role = "py:obj"
nitpicky = False

# Pages in Markdown. Pages that begin with a kernel's name are run, and an error in one fails the build.
myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_timeout = 120
nb_execution_raise_on_error = True
nb_merge_streams = True
# Notices of a compilation. Warnings fail the tests, which run the same cells.
nb_output_stderr = "remove"
nb_render_markdown_format = "myst"  # tables, which CommonMark lacks
html_static_path = ["_static"]

# The API reference.
autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "groupwise"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

# A block of Python at a prompt is copied without prompts and outputs.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_exclude = ".linenos, .gp"


sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "ignore_pattern": r"(^|/)gallery\.py$",
    "filename_pattern": r"/plot_",
    "thumbnail_size": (640, 448),
    "subsection_order": [f"../examples/{name}" for name in SECTIONS],
    "within_subsection_order": "FileNameSortKey",
    "reset_modules": ("figure_style.reset",),
    "remove_config_comments": True,
    "show_memory": False,
    "write_computation_times": False,
    "show_signature": False,
    "min_reported_time": 0,
    "download_all_examples": False,
    "abort_on_example_error": True,
    "image_scrapers": ("matplotlib",),
    "matplotlib_animations": False,
}

html_theme = "pydata_sphinx_theme"
html_title = f"fastnn {version}"
html_logo = html_favicon = "_static/logo.svg"
html_math_renderer = "mathml"
html_search_scorer = str(DOCS / "_static" / "search.js")
html_css_files = ["site.css"]
html_copy_source = html_show_sourcelink = False
html_sidebars = {"index": []}
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system
html_theme_options = {
    "logo": {"text": html_title, "alt_text": "fastnn"},
    "header_links_before_dropdown": 6,
    "navbar_align": "left",
    "navbar_persistent": ["search-button"],
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": True,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
}
