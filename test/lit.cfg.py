"""How lit finds and runs the tests in this folder."""
import os
import shutil
import subprocess

import lit.formats

config.name = "galvatron"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["Inputs", "Runtime", "Unit", "Fuzz"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.galvatron_build_dir, "test")
path = [os.path.join(config.galvatron_build_dir, "bin"), config.llvm_tools_dir, os.environ["PATH"]]
config.environment["PATH"] = os.pathsep.join(path)
# Programs are started as root on small machines too.
for name, value in (("OMPI_ALLOW_RUN_AS_ROOT", "1"), ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
                    ("OMPI_MCA_rmaps_base_oversubscribe", "1")):
    config.environment[name] = value
# What a sanitizer has to leave out; the test preset says it.
for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS"):
    if name in os.environ:
        config.environment[name] = os.environ[name]
config.substitutions.append(("%python", config.python))
config.substitutions.append(("%source", config.galvatron_source_dir))
config.substitutions.append(("%build", config.galvatron_build_dir))
config.substitutions.append(("%inputs", os.path.join(config.galvatron_source_dir, "test", "Inputs")))
# Preloaded into a program, it reports what the program allocates; a sanitizer's allocator goes another way.
config.substitutions.append(("%allocations", os.path.join(config.galvatron_build_dir, "test", "Runtime", "libgalvatron-allocations.so")))
if config.sanitize:
    config.available_features.add("sanitizer")
# A process may have a host's name of its own, so that mpirun takes this machine for two.
if shutil.which("unshare") and subprocess.run(["unshare", "--uts", "true"], stderr=subprocess.DEVNULL).returncode == 0:
    config.available_features.add("host-names")
# A model written as text becomes one in bytes: %encode < model.txt > model.onnx
config.substitutions.append(("%encode", "protoc --encode=onnx.ModelProto -I " + os.path.join(config.galvatron_build_dir, "onnx") + " onnx-ml.proto"))
