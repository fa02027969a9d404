// Run a Python program in Pyodide, with NumPy and the folder `site` of this directory: node run.mjs PROGRAM.
import { readFileSync } from "node:fs";
import { loadPyodide } from "pyodide";

const pyodide = await loadPyodide();
await pyodide.loadPackage("numpy", { checkIntegrity: false, messageCallback: () => {} });
pyodide.FS.mkdirTree("/site");
pyodide.mountNodeFS("/site", "site");
pyodide.runPython("import sys; sys.path.insert(0, '/site')");
try {
  await pyodide.runPythonAsync(readFileSync(process.argv[2], "utf8"));
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
