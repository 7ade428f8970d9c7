#include "vmm/overlay/layered_engine.h"

#include "vmm/host/event_fd.h"
#include "vmm/host/pool_engine.h"

namespace ftvmm::overlay {

Result<std::unique_ptr<host::DiskEngine>> LayeredEngine::create(
    const host::DiskFile& base, std::shared_ptr<LayeredDisk> layers) {
    FTVMM_ASSIGN(auto ready, host::Epoll::create());
    FTVMM_ASSIGN(auto event, host::EventFd::create());
    auto layered = std::make_unique<host::PoolEngine>(base, layers, std::move(event));
    FTVMM_ASSIGN(auto whole, host::make_disk_engine(base));
    FTVMM_TRY(ready.add(layered->ready_fd(), EPOLLIN, 0));
    FTVMM_TRY(ready.add(whole->ready_fd(), EPOLLIN, 1));
    return std::make_unique<LayeredEngine>(std::move(layers), std::move(ready), std::move(layered),
                                           std::move(whole));
}

LayeredEngine::LayeredEngine(std::shared_ptr<LayeredDisk> layers, host::Epoll ready,
                             std::unique_ptr<host::DiskEngine> layered,
                             std::unique_ptr<host::DiskEngine> whole)
    : layers_(std::move(layers)),
      ready_(std::move(ready)),
      layered_(std::move(layered)),
      whole_(std::move(whole)) {}

bool LayeredEngine::try_submit(host::DiskRequest&& request) {
    if (in_flight_ == kMaxInFlight) return false;
    // What is under way in layers when the disk becomes whole is on its way into the base too.
    auto& engine = layers_->is_whole() ? whole_ : layered_;
    if (!engine->try_submit(std::move(request))) return false;
    ++in_flight_;
    return true;
}

std::vector<host::DiskCompletion> LayeredEngine::take_completions() {
    auto done = layered_->take_completions();
    for (host::DiskCompletion& completion : whole_->take_completions())
        done.push_back(std::move(completion));
    in_flight_ -= done.size();
    return done;
}

const char* LayeredEngine::kind() const {
    return layers_->is_whole() ? whole_->kind() : layered_->kind();
}

}  // namespace ftvmm::overlay
