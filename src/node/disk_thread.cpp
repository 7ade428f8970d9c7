#include "node/disk_thread.h"

#include <fmt/core.h>
#include <poll.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/quiet_thread.h"

namespace ftvmm::node {

namespace {

using replay::output::DiskOperation;

const char* name_of(DiskOperation operation) {
    switch (operation) {
        case DiskOperation::kRead:
            return "read";
        case DiskOperation::kWrite:
            return "write";
        case DiskOperation::kFlush:
            return "flush";
        case DiskOperation::kDiscard:
            return "discard";
        case DiskOperation::kWriteZeroes:
            return "write of zeroes";
    }
    return "request";
}

host::DiskOperation host_operation(DiskOperation operation) {
    switch (operation) {
        case DiskOperation::kRead:
            return host::DiskOperation::kRead;
        case DiskOperation::kWrite:
            return host::DiskOperation::kWrite;
        case DiskOperation::kDiscard:
            return host::DiskOperation::kDiscard;
        case DiskOperation::kWriteZeroes:
            return host::DiskOperation::kWriteZeroes;
        case DiskOperation::kFlush:
            break;
    }
    return host::DiskOperation::kFlush;
}

DiskRange range_of(const replay::output::DiskRequest& request) {
    if (request.operation == DiskOperation::kFlush) return {};
    return {request.offset, request.length, request.operation != DiskOperation::kRead};
}

bool moves_data(DiskOperation operation) {
    return operation == DiskOperation::kRead || operation == DiskOperation::kWrite;
}

// What of the process's memory a request stands for: none where its data stays in the guest's.
std::uint64_t weight_of(const replay::output::DiskRequest& request) {
    return moves_data(request.operation) && !request.place.is_any() ? request.length : 0;
}

// Takes the data, or the pieces of its place, out of `request`, which keeps the rest.
host::DiskRequest host_request(replay::output::DiskRequest& request) {
    const bool is_write = request.operation == DiskOperation::kWrite;
    const bool is_in_place = request.place.is_any();
    FTVMM_CHECK(!is_write || is_in_place || request.data.size() == request.length,
                "a write brings its data");
    const bool needs_buffer = request.operation == DiskOperation::kRead && !is_in_place;
    AlignedBuffer buffer(needs_buffer ? request.length : 0);
    return {host::DiskRequestId(request.id),
            host_operation(request.operation),
            request.offset,
            request.length,
            std::move(buffer),
            std::exchange(request.data, {}),
            {std::exchange(request.place.pieces, {}), request.place.owner}};
}

}  // namespace

Result<std::unique_ptr<DiskThread>> DiskThread::start(std::vector<NodeDisk> disks, Waker& waker,
                                                      Log log, const OutputRight* right) {
    FTVMM_ASSIGN(Doorbell bell, Doorbell::create());
    return std::make_unique<DiskThread>(std::move(disks), waker, std::move(log), std::move(bell),
                                        right);
}

DiskThread::DiskThread(std::vector<NodeDisk> disks, Waker& waker, Log log, Doorbell bell,
                       const OutputRight* right)
    : waker_(waker),
      log_(std::move(log)),
      right_(right),
      bell_(std::move(bell)),
      requests_(kMaxRequests * std::max<std::size_t>(disks.size(), 1)),
      done_(requests_.capacity()),
      max_outstanding_(requests_.capacity()) {
    for (NodeDisk& disk : disks)
        disks_.push_back(Disk{std::move(disk), {}, {}, {}, 0, {}});
    thread_ = quiet_thread([this] { work(); });
}

DiskThread::~DiskThread() {
    stopping_ = true;
    bell_.ring();
    thread_.join();
}

bool DiskThread::has_room_for(const replay::output::DiskRequest& request) const {
    if (outstanding_ == 0) return true;
    return outstanding_ < max_outstanding_ && outstanding_bytes_ + weight_of(request) <= kMaxBytes;
}

void DiskThread::submit(replay::output::DiskRequest&& request) {
    FTVMM_CHECK(has_room_for(request), "disk requests are sent as far as there is room");
    ++outstanding_;
    outstanding_bytes_ += weight_of(request);
    FTVMM_CHECK(requests_.try_push(std::move(request)), "what is outstanding fits the queue");
    bell_.ring();
}

std::optional<DiskDone> DiskThread::take() {
    auto done = done_.try_pop();
    if (done) {
        --outstanding_;
        outstanding_bytes_ -= done->weight;
    }
    return done;
}

void DiskThread::work() {
    while (true) {
        wait();
        if (stopping_) return;
        bool ended = false;
        for (std::uint32_t i = 0; i < disks_.size(); ++i)
            ended |= take_from_engine(disks_[i], i);
        while (auto request = requests_.try_pop())
            accept(std::move(*request));
        waits_for_right_ = false;
        for (Disk& disk : disks_)
            fill_engine(disk);
        if (ended) waker_.wake();
    }
}

void DiskThread::wait() {
    std::vector<pollfd> fds{{bell_.fd(), POLLIN, 0}};
    for (const Disk& disk : disks_)
        fds.push_back({disk.node.engine->ready_fd(), POLLIN, 0});
    bell_.before_sleep();
    const bool busy = stopping_ || requests_.size() > 0;
    // Nobody tells when the right holds again.
    constexpr int kLookEveryMs = 20;
    // A signal ends it too: then there is nothing to do.
    (void)::poll(fds.data(), fds.size(), busy ? 0 : waits_for_right_ ? kLookEveryMs : -1);
    bell_.after_sleep((fds[0].revents & POLLIN) != 0);
}

void DiskThread::accept(replay::output::DiskRequest&& request) {
    FTVMM_CHECK(request.disk < disks_.size(), "the guest's disks are the node's");
    Disk& disk = disks_[request.disk];
    const std::uint64_t id = request.id;
    const DiskRange range = range_of(request);
    const bool is_new = disk.requests.try_emplace(id, std::move(request)).second;
    FTVMM_CHECK(is_new, "a disk request's number is its own");
    if (disk.order.add(id, range)) disk.ready.push_back(id);
}

void DiskThread::fill_engine(Disk& disk) {
    while (!disk.ready.empty() && disk.in_engine < host::DiskEngine::kMaxInFlight) {
        auto& request = disk.requests.at(disk.ready.front());
        if (!may_begin(request)) {
            waits_for_right_ = true;
            return;
        }
        const bool taken = disk.node.engine->try_submit(host_request(request));
        FTVMM_CHECK(taken, "an engine takes as many requests as it says");
        disk.ready.pop_front();
        ++disk.in_engine;
    }
}

// A host that was stopped for a while wakes with requests that waited for others: somebody else may
// own the disk by now.
bool DiskThread::may_begin(const replay::output::DiskRequest& request) const {
    return request.operation == DiskOperation::kRead || right_ == nullptr || right_->holds();
}

bool DiskThread::take_from_engine(Disk& disk, std::uint32_t index) {
    // Also where nothing is under way: it makes the engine's descriptor unreadable, which the last
    // completion may have left readable.
    auto completions = disk.node.engine->take_completions();
    for (host::DiskCompletion& completion : completions) {
        const std::uint64_t id = completion.id.value();
        const auto entry = disk.requests.extract(id);
        FTVMM_CHECK(!entry.empty(), "an engine ends what it was given");
        const replay::output::DiskRequest& request = entry.mapped();
        if (completion.error_number != 0) say_failed(disk, request, completion.error_number);
        for (const std::uint64_t freed : disk.order.end(id))
            disk.ready.push_back(freed);
        --disk.in_engine;
        const bool has_found = request.operation == DiskOperation::kRead && !request.place.is_any();
        DiskDone done{index,
                      id,
                      completion.error_number == 0,
                      has_found ? request.length : 0,
                      weight_of(request),
                      std::move(completion.buffer)};
        FTVMM_CHECK(done_.try_push(std::move(done)), "what is outstanding fits the queue");
    }
    return !completions.empty();
}

void DiskThread::say_failed(Disk& disk, const replay::output::DiskRequest& request,
                            int error_number) {
    const auto held_back = disk.failures.pass(clock_.now());
    if (!held_back) return;
    const auto error = Error::from_errno(
        error_number, fmt::format("disk {}: {} of {} bytes at {}", disk.node.name,
                                  name_of(request.operation), request.length, request.offset));
    log_(fmt::format("{}: the guest sees an I/O error; {} such errors before it were not shown",
                     error.line(), *held_back));
}

}  // namespace ftvmm::node
