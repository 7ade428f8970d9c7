// Requests to a disk in layers, and to its base alone once it is whole.
#pragma once

#include <memory>

#include "vmm/host/disk_engine.h"
#include "vmm/host/disk_file.h"
#include "vmm/host/epoll.h"
#include "vmm/overlay/layered_disk.h"

namespace ftvmm::overlay {

// Owned and called as any DiskEngine.
class LayeredEngine final : public host::DiskEngine {
  public:
    // `base` outlives it.
    static Result<std::unique_ptr<host::DiskEngine>> create(const host::DiskFile& base,
                                                            std::shared_ptr<LayeredDisk> layers);
    LayeredEngine(std::shared_ptr<LayeredDisk> layers, host::Epoll ready,
                  std::unique_ptr<host::DiskEngine> layered,
                  std::unique_ptr<host::DiskEngine> whole);

    [[nodiscard]] bool try_submit(host::DiskRequest&& request) override;
    [[nodiscard]] std::vector<host::DiskCompletion> take_completions() override;
    [[nodiscard]] int ready_fd() const override { return ready_.get(); }
    [[nodiscard]] const char* kind() const override;

  private:
    std::shared_ptr<LayeredDisk> layers_;
    host::Epoll ready_;  // Of both.
    std::unique_ptr<host::DiskEngine> layered_;
    std::unique_ptr<host::DiskEngine> whole_;
    std::size_t in_flight_ = 0;
};

}  // namespace ftvmm::overlay
