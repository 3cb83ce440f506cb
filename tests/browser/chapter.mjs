// One chapter of a built site, from top to bottom, in the site's own Pyodide under node:
//     node chapter.mjs SITE NOTEBOOK
// prints the seconds of each cell to stderr, and at the end one line of JSON: name, seconds to load and to run, the cells that took the longest, and the first cell that failed.
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [site, notebook] = process.argv.slice(2).map((p) => path.resolve(p));
const report = { name: path.basename(notebook, ".ipynb") };
const seconds = (since) => Math.round((performance.now() - since) / 100) / 10;

const RUN = `
import json, sys, time
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.pylabtools import select_figure_formats

shell = InteractiveShell.instance(colors="NoColor")
figures = []


def keep(data, metadata=None, **_):
    figures.extend(kind for kind in data if kind == "image/png")


shell.display_pub.publish = keep


class Shown(shell.displayhook_class):
    def write_format_data(self, data, md_dict=None):
        keep(data)


shell.displayhook_class = Shown
shell.displayhook.__class__ = Shown
select_figure_formats(shell, {"png"})


class Complaints:
    text = ""

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def run(sources):
    found, taken = {}, []
    out, err = sys.stdout, sys.stderr
    complaints = Complaints()
    for i, source in enumerate(sources):
        started = time.perf_counter()
        sys.stdout, sys.stderr = Complaints(), complaints
        try:
            result = shell.run_cell(source)
        finally:
            sys.stdout, sys.stderr = out, err
        taken.append((round(time.perf_counter() - started, 1), i))
        print(f"cell {i}: {taken[-1][0]} s", file=err)
        if not result.success:
            error = result.error_before_exec or result.error_in_exec
            found["failed"] = {"cell": i, "source": source[:300], "error": f"{type(error).__name__}: {error}"[:1500]}
            import traceback
            found["trace"] = "".join(traceback.format_exception(error))[-1500:]
            break
    return json.dumps(found | {"slowest": sorted(taken, reverse=True)[:6], "complaints": complaints.text[:1500], "figures": len(figures)})
`;

try {
  const started = performance.now();
  const place = path.join(site, "static", "pyodide");
  const { loadPyodide } = await import(pathToFileURL(path.join(place, "pyodide.mjs")));
  const python = await loadPyodide({ indexURL: place + path.sep, env: { HOME: "/home/pyodide", MPLBACKEND: "Agg" } });
  const config = JSON.parse(fs.readFileSync(path.join(site, "jupyter-lite.json"), "utf8"));
  const kernel = config["jupyter-config-data"].litePluginSettings["@jupyterlite/pyodide-kernel-extension:kernel"];
  await python.loadPackage([...kernel.loadPyodideOptions.packages, "ipython"], { messageCallback: () => {} });
  const cells = JSON.parse(fs.readFileSync(notebook, "utf8")).cells;
  const sources = cells.filter((cell) => cell.cell_type === "code").map((cell) => [cell.source].flat().join(""));
  python.runPython(RUN);
  report.load = seconds(started);
  const begun = performance.now();
  Object.assign(report, JSON.parse(python.globals.get("run")(python.toPy(sources))));
  report.seconds = seconds(begun);
  report.cpu = Math.round(process.cpuUsage().user / 1e5) / 10; // what it would take on a machine with nothing else to do
} catch (error) {
  report.failed = { error: String(error.message ?? error).slice(0, 2000) };
}
console.log(JSON.stringify(report));
process.exit(report.failed ? 1 : 0);
