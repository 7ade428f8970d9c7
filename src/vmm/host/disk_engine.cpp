#include "vmm/host/disk_engine.h"

#include "vmm/host/pool_engine.h"
#include "vmm/host/uring_engine.h"

namespace ftvmm::host {

Result<std::unique_ptr<DiskEngine>> make_disk_engine(const DiskFile& disk) {
    if (auto uring = UringEngine::create(disk)) return std::move(*uring);
    FTVMM_ASSIGN(auto pool, PoolEngine::create(disk));
    return pool;
}

}  // namespace ftvmm::host
