#!/bin/sh
# Builds wheel and sdist as for PyPI, installs each in an environment of its own and runs the quickstart with it.
# Usage, in the root of the repository: release_check.sh PYTHON BUILD_PYTHON (the latter has the package "build")
set -eu
root=$(pwd)
work=$root/build/release
rm -rf "$work"
mkdir -p "$work"
"$2" -m build --outdir "$work/dist" "$root"

for file in "$work"/dist/*.whl "$work"/dist/*.tar.gz; do
    "$1" -m venv "$work/env"
    "$work/env/bin/python" -m pip install --quiet --constraint "$root/constraints.txt" "$file"
    mkdir "$work/run"
    cp "$root/examples/quickstart.py" "$work/run"
    # Nothing of the repository or of earlier runs may help: another folder, an empty cache.
    (
        cd "$work/run"
        export HF_HOME="$work/run/home" DIFFUMASK_CACHE="$work/run/store"
        unset PYTHONPATH
        "$work/env/bin/python" -c "import diffumask_datasets as d; assert d.__file__.startswith('$work/env'), d.__file__"
        "$work/env/bin/python" quickstart.py --output demo --num-samples 4
        "$work/env/bin/diffumask" --version
    )
    echo "$(basename "$file"): installed, and the quickstart ran"
    rm -rf "$work/env" "$work/run"
done
