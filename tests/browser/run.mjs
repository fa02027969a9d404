// Run a Python program in Pyodide, with NumPy, the folder `site` of this directory and the files of the repository:
// node run.mjs REPOSITORY PROGRAM.
import { readFileSync } from "node:fs";
import { loadPyodide } from "pyodide";

const [repository, program] = process.argv.slice(2);
const pyodide = await loadPyodide();
await pyodide.loadPackage("numpy", { checkIntegrity: false, messageCallback: () => {} });
for (const [folder, place] of [["site", "/site"], [repository, "/repository"]]) {
  pyodide.FS.mkdirTree(place);
  pyodide.mountNodeFS(place, folder);
}
pyodide.runPython("import sys; sys.path.insert(0, '/site')");
try {
  await pyodide.runPythonAsync(readFileSync(program, "utf8"));
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
