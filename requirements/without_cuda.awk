# Drops torch, torchvision and the CUDA wheels from a lock, so that a CPU-only torch can be installed beside the rest:
#   awk -f requirements/without_cuda.awk requirements/train.txt
# A package is its `name==version` line and the indented lines (hashes, comments) below it.
/^[^ #]/ {
    drop = /^(torch|torchvision|triton|cuda-[a-z]+|nvidia-[a-z0-9-]+)==/
    if (/^nvidia-ml-py==/) drop = 0  # pure Python: asks the driver, carries no CUDA
}
!drop
