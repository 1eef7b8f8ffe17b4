"""The environment of an agent's process: what changes arithmetic, and nothing secret."""

import os

from grokbench.runs.cores import THREAD_VARIABLES

MEMORY_VARIABLE = "GROKBENCH_MEMORY"  # bytes of address space that the process may have
# Each changes how numbers are computed or in which order they are added. The process that writes the records computes with
# them, so the agent's process gets the same. Any other variable may be a secret and stays here.
ARITHMETIC_VARIABLES = (
    "ATEN_CPU_CAPABILITY",  # torch's instruction set, which a record states
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "ONEDNN_CPU_ISA_HINTS",
    "DNNL_CPU_ISA_HINTS",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "DNNL_DEFAULT_FPMATH_MODE",
    "MKL_CBWR",  # bitwise reproducible code paths
    "MKL_ENABLE_INSTRUCTIONS",
    "MKL_DEBUG_CPU_TYPE",
    "MKL_DYNAMIC",
    "MKL_DOMAIN_NUM_THREADS",
    "MKL_THREADING_LAYER",
    "OMP_DYNAMIC",
    "OMP_SCHEDULE",
    "OMP_THREAD_LIMIT",
    "OMP_MAX_ACTIVE_LEVELS",
    "KMP_DETERMINISTIC_REDUCTION",
    "KMP_FORCE_REDUCTION",
    "OPENBLAS_CORETYPE",
    "NPY_DISABLE_CPU_FEATURES",
    "NPY_ENABLE_CPU_FEATURES",
    "GLIBC_TUNABLES",  # the C library's variants of exp, log and the like
    "CUBLAS_WORKSPACE_CONFIG",
    "NVIDIA_TF32_OVERRIDE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "PYTHONHASHSEED",  # the order in which a set of strings is walked
)
PASSED_ON = (*THREAD_VARIABLES, *ARITHMETIC_VARIABLES)


def agent_environment(*, threads: int, memory: int) -> dict[str, str]:
    """The environment of an agent's process, which computes on so many threads in so many bytes of address space."""
    passed = {name: os.environ[name] for name in ("PATH", *ARITHMETIC_VARIABLES) if name in os.environ}
    limits = dict.fromkeys(THREAD_VARIABLES, str(threads))
    return {**passed, **limits, "HOME": "/nonexistent", MEMORY_VARIABLE: str(memory)}
