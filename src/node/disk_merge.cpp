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
                     Options options)
    : options_(std::move(options)), asks_agent_at_(SystemClock().now() + options_.patience) {
    for (const auto& chain : chains) {
        if (chain->layers() == nullptr) continue;
        works_.push_back({chain.get(), false, false, {}});
        options_.log(
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
        options_.log(
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
        if (clock.now() >= asks_agent_at_) ask_agent();
        const Instant begun = clock.now();
        bool got_on = false;
        for (Work& work : works_)
            got_on |= !work.is_done && step(work);
        const bool is_done = std::ranges::all_of(works_, &Work::is_done);
        // The guest gets half of what the storage can do.
        const BootClock::duration rest = got_on ? clock.now() - begun : kLookEvery;
        lock.lock();
        if (is_done) return;
        (void)wake_.wait_for(lock, rest, [this] { return stopping_.load(); });
    }
}

// Where a disk waits for locks.
void DiskMerge::ask_agent() {
    const bool waits = std::ranges::any_of(
        works_, [](const Work& work) { return !work.chain->layers()->is_settled(); });
    if (!options_.agent || is_fenced_ || !waits || !options_.may_act()) return;
    options_.log(fmt::format("host {} may still write: it is ended by {}", options_.agent->host,
                             options_.agent->command));
    const auto fenced = fence(*options_.agent, stopping_);
    is_fenced_ = fenced.has_value();
    options_.log(is_fenced_ ? fmt::format("host {} was ended", options_.agent->host)
                            : fenced.error().line() + ": it is tried again");
    asks_agent_at_ = SystemClock().now() + options_.patience;
}

bool DiskMerge::step(Work& work) {
    const auto whole = work.chain->bring_home(options_.may_act, is_fenced_);
    if (!whole) {
        const std::string line = whole.error().line();
        if (line != work.trouble) options_.log(line + "; it stays in layers for now");
        work.trouble = line;
        return false;
    }
    work.trouble.clear();
    say_progress(work);
    if (*whole) options_.log(fmt::format("disk {} is whole again", work.chain->path()));
    work.is_done = *whole;
    return work.is_done || (work.was_settled && options_.may_act());
}

void DiskMerge::say_progress(Work& work) {
    const overlay::LayeredDisk& layers = *work.chain->layers();
    if (layers.is_settled() && !std::exchange(work.was_settled, true)) {
        options_.log(
            fmt::format("disk {}: no other host can write to it any more: {} KiB go into it",
                        work.chain->path(), layers.left() >> 10U));
    }
}

}  // namespace ftvmm::node
