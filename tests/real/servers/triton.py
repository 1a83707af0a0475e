"""NVIDIA's Triton inference server on the CPU. ``python -m tests.real.servers.triton PORT DIRECTORY [SKEW]``.

The package ``nvidia-pytriton`` carries the server; its Python backend runs two models, kept beside this file.
"""

import os
import shutil
import sys
from pathlib import Path

import pytriton

ECHOED = {
    **{kind: kind for kind in ("BOOL", "FP16", "FP32", "FP64")},
    **{f"{sign}INT{bits}": f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)},
    "BYTES": "STRING",
}
"""Datatypes by their names in the protocol, and in Triton's configuration."""


def _listed(side: str, more: str = "") -> str:
    """Return the inputs or outputs of the model that echoes, one for each datatype."""
    return ", ".join(
        f'{{name: "{side}_{kind}" data_type: TYPE_{typed} dims: [-1, -1]{more}}}'
        for kind, typed in ECHOED.items()
    )


MODELS = {
    "sums": """
backend: "python"
max_batch_size: 16
input [{name: "a" data_type: TYPE_FP32 dims: [-1]}, {name: "b" data_type: TYPE_FP32 dims: [-1]}]
output [{name: "sum" data_type: TYPE_FP32 dims: [-1]}, {name: "difference" data_type: TYPE_FP32 dims: [-1]}]
parameters [{key: "skew" value: {string_value: "SKEW"}}]
instance_group [{kind: KIND_CPU count: 1}]
""",
    "words": """
backend: "python"
max_batch_size: 0
model_transaction_policy {decoupled: true}
input [{name: "prompt" data_type: TYPE_STRING dims: [1]}]
output [{name: "text" data_type: TYPE_STRING dims: [1]}]
instance_group [{kind: KIND_CPU count: 1}]
""",
    "echoes": f"""
backend: "python"
max_batch_size: 0
input [{_listed("in", " optional: true")}]
output [{_listed("out")}]
instance_group [{{kind: KIND_CPU count: 1}}]
""",
}


def lay_out(directory: Path, package: Path, skew: str) -> list[str]:
    """Write a model repository and a folder of backends; return the server's command line but for its address."""
    for name, config in MODELS.items():
        version = directory / "models" / name / "1"
        version.mkdir(parents=True)
        (version.parent / "config.pbtxt").write_text(config.replace("SKEW", skew))
        shutil.copyfile(Path(__file__).parent / "triton_models" / f"{name}.py", version / "model.py")
    # The backend looks for its interpreter in its own folder; the package keeps one for each version of Python.
    backend = directory / "backends" / "python"
    backend.mkdir(parents=True)
    stub = package / "python_backend_stubs" / f"{sys.version_info[0]}.{sys.version_info[1]}"
    for file in (*package.glob("backends/python/*.*"), stub / "triton_python_backend_stub"):
        (backend / file.name).symlink_to(file)
    return [
        str(package / "bin" / "tritonserver"),
        f"--model-repository={directory}/models",
        f"--backend-directory={directory}/backends",
    ]


if __name__ == "__main__":
    skew = sys.argv[3] if len(sys.argv) > 3 else "0"
    command = lay_out(Path(sys.argv[2]), Path(pytriton.__file__).parent / "tritonserver", skew)
    command += [
        "--http-address=127.0.0.1",
        f"--http-port={sys.argv[1]}",
        "--allow-grpc=false",
        "--allow-metrics=false",
    ]
    # The backend's interpreter finds its packages beside the python that comes first in PATH.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    os.execve(command[0], command, os.environ | {"PATH": path})  # noqa: S606
