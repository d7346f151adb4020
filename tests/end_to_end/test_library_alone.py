"""The library rooms run where kedro, mlflow and pydantic cannot be imported."""

import subprocess
import sys

SCRIPT = """
import importlib, pkgutil, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"kedro", "kedro_datasets", "kedro_mlflow", "mlflow", "pydantic"}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Refuse())
import lafs_pipeline
rooms = [
    *("runtime", "faces", "sources", "protocols", "cataloging", "views", "models", "objectives"),
    *("training", "evaluation", "interop", "reporting"),
]
count = 0
for room in rooms:
    package = importlib.import_module(f"lafs_pipeline.{room}")
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
        count += 1
print(count)
"""


def test_every_module_of_the_library_imports():
    finished = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert int(finished.stdout) > 40


def test_building_a_model_imports_neither_opencv_nor_pandas_nor_kedro():
    script = """
import sys
from lafs_pipeline.models.part_fvit import build_model
build_model("part_fvit_tiny_patch8_112", {"num_landmarks": 9})
print(*sorted({"cv2", "pandas", "kedro", "sklearn", "matplotlib"} & sys.modules.keys()))
"""
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == ""


def test_windows_is_refused_with_what_to_do():
    script = "import sys; sys.platform = 'win32'; import lafs_pipeline"
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert finished.returncode == 1
    assert "Windows Subsystem for Linux" in finished.stderr
