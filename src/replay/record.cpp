#include "replay/record.h"

#include <fmt/format.h>

#include <array>

#include "base/overloaded.h"

namespace ftvmm::replay {

namespace {

std::vector<std::byte> copy(std::span<const std::byte> bytes) {
    return {bytes.begin(), bytes.end()};
}

std::string milliseconds(GuestTime time) {
    using Milliseconds = std::chrono::duration<double, std::milli>;
    return fmt::format("{:.6f} ms", Milliseconds(time.time_since_epoch()).count());
}

}  // namespace

Body body_of(const Input& input) {
    return std::visit(
        Overloaded{
            [](const input::ConsoleBytes& console) -> Body {
                return record::ConsoleBytes{copy(console.bytes), console.port};
            },
            [](const input::Packet& packet) -> Body {
                return record::Packet{packet.nic, copy(packet.frame)};
            },
            [](const input::DiskCompletion& done) -> Body {
                return record::DiskCompletion{done.disk, done.id, done.ok, copy(done.data)};
            },
            [](const input::Entropy& entropy) -> Body {
                return record::Entropy{entropy.id, copy(entropy.bytes)};
            },
            [](const auto& plain) -> Body { return plain; },
        },
        input);
}

std::optional<Input> input_of(const Body& body) {
    using Maybe = std::optional<Input>;
    return std::visit(Overloaded{
                          [](const input::Time& time) -> Maybe { return time; },
                          [](const input::WallClock& clock) -> Maybe { return clock; },
                          [](const input::PowerButton& button) -> Maybe { return button; },
                          [](const record::ConsoleBytes& console) -> Maybe {
                              return input::ConsoleBytes{console.bytes, console.port};
                          },
                          [](const record::Packet& packet) -> Maybe {
                              return input::Packet{packet.nic, packet.frame};
                          },
                          [](const record::DiskCompletion& done) -> Maybe {
                              return input::DiskCompletion{done.disk, done.id, done.ok, done.data};
                          },
                          [](const record::Entropy& entropy) -> Maybe {
                              return input::Entropy{entropy.id, entropy.bytes};
                          },
                          [](const auto&) -> Maybe { return std::nullopt; },
                      },
                      body);
}

bool is_reset(record::EndKind kind) {
    return kind == record::EndKind::kReset || kind == record::EndKind::kTripleFault;
}

const char* name_of_kind(std::size_t kind) {
    static constexpr std::array kNames{
        "time",     "wall clock", "console",     "packet", "disk end", "entropy", "power button",
        "power on", "checkpoint", "output mark", "mark",   "audit",    "end",     "trace"};
    static_assert(kNames.size() == kRecordKinds);
    return kNames.at(kind);
}

const char* name_of(const Body& body) {
    return name_of_kind(body.index());
}

const char* name_of(record::EndKind kind) {
    static constexpr std::array kNames{"powered off", "reset", "triple fault", "stopped",
                                       "crashed"};
    return kNames.at(static_cast<std::size_t>(kind));
}

std::string describe(Landmark landmark) {
    if (landmark.checkpoints == 0) return fmt::format("exit {}", landmark.exits);
    return fmt::format("exit {}, checkpoint {}", landmark.exits, landmark.checkpoints);
}

std::string describe(const Body& body) {
    using namespace record;
    return name_of(body) +
           std::visit(
               Overloaded{
                   [](const input::Time& time) {
                       return fmt::format(" {}", milliseconds(time.now));
                   },
                   [](const input::WallClock& clock) {
                       return fmt::format(" {} s",
                                          clock.at.time_since_epoch() / std::chrono::seconds(1));
                   },
                   [](const ConsoleBytes& console) {
                       return fmt::format(" input of {} bytes", console.bytes.size());
                   },
                   [](const Packet& packet) {
                       return fmt::format(" of {} bytes for card {}", packet.frame.size(),
                                          packet.nic);
                   },
                   [](const DiskCompletion& done) {
                       return fmt::format(" of request {} of disk {}: {}, {} bytes", done.id,
                                          done.disk, done.ok ? "good" : "failed", done.data.size());
                   },
                   [](const Entropy& entropy) {
                       return fmt::format(" of request {}: {} bytes", entropy.id,
                                          entropy.bytes.size());
                   },
                   [](const input::PowerButton&) { return std::string(); },
                   [](const PowerOn& on) {
                       return fmt::format(" with {} bytes of seed", on.rng_seed.size());
                   },
                   [](const Checkpoint& checkpoint) {
                       return fmt::format(" of {} bytes", checkpoint.state.size());
                   },
                   [](const OutputMark& mark) { return fmt::format(" {}", mark.number); },
                   [](const Mark& mark) { return fmt::format(" {:016x}", mark.digest); },
                   [](const Audit& audit) { return fmt::format(" {:016x}", audit.memory_hash); },
                   [](const End& end) {
                       return fmt::format(" ({}) {:016x}", name_of(end.kind), end.digest);
                   },
                   [](const Trace& trace) {
                       return fmt::format(" of {}, rip {:016x}", describe(trace.exit),
                                          trace.exit.registers.at(kRip));
                   },
               },
               body);
}

std::string describe(const Record& record) {
    return describe(record.body) + " at " + describe(record.at);
}

}  // namespace ftvmm::replay
