#include "node/host_ports.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/overloaded.h"

namespace ftvmm::node {

replay::Input view_of(const OwnedInput& owned) {
    return std::visit(
        Overloaded{
            [](const OwnedPacket& packet) -> replay::Input {
                return replay::input::Packet{packet.nic, packet.frame};
            },
            [](const OwnedConsoleBytes& typed) -> replay::Input {
                return replay::input::ConsoleBytes{typed.bytes, typed.port};
            },
            [](const DiskDone& done) -> replay::Input {
                const std::size_t length = done.ok ? done.length : 0;
                return replay::input::DiskCompletion{done.disk, done.id, done.ok,
                                                     done.buffer.bytes().first(length)};
            },
            [](const OwnedEntropy& entropy) -> replay::Input {
                return replay::input::Entropy{entropy.id, entropy.bytes};
            },
            [](const replay::input::PowerButton& button) -> replay::Input { return button; }},
        owned);
}

HostPorts::HostPorts(DiskThread& disks, IoThread& io, VcpuControl& control, Entropy& entropy)
    : disks_(disks), io_(io), control_(control), entropy_(entropy) {}

NicPort& HostPorts::nic(std::uint32_t index) {
    FTVMM_CHECK(index < io_.nics().size(), "the guest's network cards are the node's");
    return io_.nics()[index];
}

void HostPorts::release(replay::Output&& output) {
    std::visit(
        Overloaded{
            [this](replay::output::ConsoleBytes&& bytes) { gather(std::move(bytes)); },
            [this](replay::output::Packet&& packet) {
                nic(packet.nic).send(std::move(packet.frame));
            },
            [this](replay::output::NicOffload&& offload) { nic(offload.nic).set_offload(offload); },
            [this](replay::output::DiskRequest&& request) { submit(std::move(request)); },
            [this](replay::output::EntropyRequest&& request) { answer(request); }},
        std::move(output));
}

void HostPorts::gather(replay::output::ConsoleBytes&& output) {
    // A full one would only wait for the next: the io thread writes a console's bytes at once.
    constexpr std::size_t kLongLine = 512;
    if (line_.port != output.port) flush();
    if (line_.bytes.empty()) {
        line_ = std::move(output);
    } else {
        line_.bytes.insert(line_.bytes.end(), output.bytes.begin(), output.bytes.end());
    }
    const bool ended = !line_.bytes.empty() && line_.bytes.back() == std::byte{'\n'};
    if (ended || line_.bytes.size() >= kLongLine) flush();
}

void HostPorts::flush() {
    if (!line_.bytes.empty()) print(std::exchange(line_, {}));
}

void HostPorts::print(replay::output::ConsoleBytes&& output) {
    if (!prints_.empty() || !io_.try_print(std::move(output))) {
        // NOLINTNEXTLINE(bugprone-use-after-move): what is refused stays with the caller.
        prints_.push_back(std::move(output));
    }
}

void HostPorts::submit(replay::output::DiskRequest&& request) {
    if (requests_.empty() && disks_.has_room_for(request)) {
        disks_.submit(std::move(request));
    } else {
        requests_.push_back(std::move(request));
    }
}

void HostPorts::answer(const replay::output::EntropyRequest& request) {
    OwnedEntropy& answer = answers_.emplace_back();
    answer.id = request.id;
    answer.bytes.resize(request.length);
    entropy_.fill(answer.bytes);
}

void HostPorts::retry() {
    for (NicPort& nic : io_.nics())
        nic.send_waiting();
    while (!prints_.empty() && io_.try_print(std::move(prints_.front())))
        prints_.pop_front();
    while (!requests_.empty() && disks_.has_room_for(requests_.front())) {
        disks_.submit(std::move(requests_.front()));
        requests_.pop_front();
    }
}

std::optional<OwnedInput> HostPorts::next_input(const replay::GuestMachine& machine) {
    unwanted_ = 0;
    if (control_.take_power_button()) return replay::input::PowerButton{};
    if (!answers_.empty()) {
        OwnedInput input = std::move(answers_.front());
        answers_.pop_front();
        return input;
    }
    if (auto done = disks_.take()) return std::move(*done);
    for (std::uint32_t i = 0; i < io_.nics().size(); ++i) {
        if (!machine.wants_packets(i)) {
            io_.nics()[i].shut();
            ++unwanted_;
        } else if (auto frame = io_.nics()[i].take()) {
            return OwnedPacket{i, std::move(*frame)};
        }
    }
    for (const auto port : {replay::ConsolePort::kSerial, replay::ConsolePort::kVirtio}) {
        if (!machine.wants_console_bytes(port)) {
            io_.typed(port).shut();
            ++unwanted_;
        } else if (auto bytes = io_.typed(port).take()) {
            return OwnedConsoleBytes{std::move(*bytes), port};
        }
    }
    return std::nullopt;
}

bool HostPorts::has_input(const replay::GuestMachine& machine) {
    if (control_.has_power_button() || !answers_.empty() || disks_.has_done()) return true;
    for (std::uint32_t i = 0; i < io_.nics().size(); ++i) {
        if (!io_.nics()[i].is_empty() && machine.wants_packets(i)) return true;
    }
    return std::ranges::any_of(
        std::array{replay::ConsolePort::kSerial, replay::ConsolePort::kVirtio},
        [&](replay::ConsolePort port) {
            return !io_.typed(port).is_empty() && machine.wants_console_bytes(port);
        });
}

void HostPorts::reset() {
    requests_.clear();
    answers_.clear();
    drain_disks();
    for (std::uint32_t i = 0; i < io_.nics().size(); ++i)
        io_.nics()[i].set_offload(replay::output::NicOffload{.nic = i});
}

void HostPorts::drain_disks() {
    while (true) {
        while (disks_.take()) {
        }
        // What has lost its VM waits for nothing more.
        if (disks_.outstanding() == 0 || control_.is_stopping()) return;
        control_.waker().wait();
        (void)control_.waker().take_news();
    }
}

std::uint64_t HostPorts::lost_frames() const {
    return std::accumulate(
        io_.nics().begin(), io_.nics().end(), std::uint64_t{0},
        [](std::uint64_t sum, const NicPort& nic) { return sum + nic.lost_frames(); });
}

}  // namespace ftvmm::node
