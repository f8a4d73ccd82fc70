# The recipe of bsbpool for Spack; in a repository of packages it is packages/py_bsbpool/package.py.
from spack_repo.builtin.build_systems.python import PythonPackage

from spack.package import *


class PyBsbpool(PythonPackage):
    """A job pool over MPI: dependencies, caching and scheduling in a compiled core."""

    pypi = "bsbpool/bsbpool-0.1.0.tar.gz"
    homepage = "https://pypi.org/project/bsbpool/"

    license("BSD-3-Clause")

    version("0.1.0", sha256="0000000000000000000000000000000000000000000000000000000000000000")

    variant("mpi", default=True, description="Run jobs on the ranks of an MPI program")

    depends_on("c", type="build")
    depends_on("cmake@3.21:", type="build")
    depends_on("ninja", type="build")
    depends_on("py-scikit-build-core@0.11:", type="build")
    depends_on("py-cython@3.1:3", type="build")

    depends_on("python@3.11:", type=("build", "link", "run"))
    depends_on("py-cloudpickle@3:", type=("build", "run"))
    depends_on("py-numpy@1.26:", type=("build", "run"))
    depends_on("mpi", when="+mpi")
    depends_on("py-mpi4py@4:", type=("build", "run"), when="+mpi")

    def setup_build_environment(self, env):
        options = ["-DBSBPOOL_MPI=none"]
        if self.spec.satisfies("+mpi"):
            compiler = self.spec["mpi"].mpicc
            options = ["-DBSBPOOL_MPI=mpicc", f"-DMPI_C_COMPILER={compiler}"]
        env.set("CMAKE_ARGS", " ".join(options))
