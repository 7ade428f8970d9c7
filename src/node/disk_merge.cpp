#include "node/disk_merge.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/clock.h"
#include "base/quiet_thread.h"

namespace ftvmm::node {

namespace {

// Nobody tells when a lock comes free.
constexpr std::chrono::milliseconds kLookEvery{500};

}  // namespace

DiskMerge::DiskMerge(const std::vector<std::unique_ptr<overlay::DiskChain>>& chains,
                     std::function<bool()> may_act, Log log)
    : may_act_(std::move(may_act)), log_(std::move(log)) {
    for (const auto& chain : chains) {
        if (chain->layers() == nullptr) continue;
        works_.push_back({chain.get(), false, false, {}});
        log_(
            fmt::format("disk {}: what the VM writes goes into {}, as long as a host that was "
                        "lost may yet write to the disk",
                        chain->path(), chain->top()));
    }
    if (!works_.empty()) thread_ = quiet_thread([this] { work(); });
}

void DiskMerge::stop() {
    if (!thread_.joinable()) return;
    {
        const std::lock_guard guard(mutex_);
        stopping_ = true;
    }
    wake_.notify_all();
    thread_.join();
    for (const Work& work : works_) {
        if (work.is_done) continue;
        log_(
            fmt::format("disk {} is not whole: {} belongs to it, and the VM's next start goes on "
                        "to make them one",
                        work.chain->path(), work.chain->top()));
    }
}

std::vector<DiskLayers> DiskMerge::status() const {
    std::vector<DiskLayers> all;
    for (const Work& work : works_) {
        const overlay::LayeredDisk& layers = *work.chain->layers();
        all.push_back({work.chain->path(), work.chain->top(), layers.is_whole(),
                       layers.is_settled(), layers.left()});
    }
    return all;
}

void DiskMerge::work() {
    const SystemClock clock;
    std::unique_lock lock(mutex_);
    while (!stopping_) {
        lock.unlock();
        const Instant begun = clock.now();
        bool got_on = false;
        for (Work& work : works_)
            got_on |= !work.is_done && step(work);
        const bool is_done = std::ranges::all_of(works_, &Work::is_done);
        // The guest gets half of what the storage can do.
        const BootClock::duration rest = got_on ? clock.now() - begun : kLookEvery;
        lock.lock();
        if (is_done) return;
        (void)wake_.wait_for(lock, rest, [this] { return stopping_; });
    }
}

bool DiskMerge::step(Work& work) {
    const auto whole = work.chain->bring_home(may_act_);
    if (!whole) {
        const std::string line = whole.error().line();
        if (line != work.trouble) log_(line + "; it stays in layers for now");
        work.trouble = line;
        return false;
    }
    work.trouble.clear();
    work.is_done = *whole;
    say_progress(work);
    return work.is_done || (work.was_settled && may_act_());
}

void DiskMerge::say_progress(Work& work) {
    const overlay::LayeredDisk& layers = *work.chain->layers();
    if (layers.is_settled() && !std::exchange(work.was_settled, true)) {
        log_(fmt::format("disk {}: no other host can write to it any more: {} KiB go into it",
                         work.chain->path(), layers.left() >> 10U));
    }
    if (work.is_done) log_(fmt::format("disk {} is whole again", work.chain->path()));
}

}  // namespace ftvmm::node
