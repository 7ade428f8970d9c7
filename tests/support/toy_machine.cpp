#include "toy_machine.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "base/overloaded.h"

namespace ftvmm::replay::testing {

namespace {

// The finalizer of SplitMix64 over both.
std::uint64_t mix(std::uint64_t hash, std::uint64_t value) {
    std::uint64_t x = std::rotl(hash, 23) + value + 0x9e37'79b9'7f4a'7c15;
    x = (x ^ x >> 30U) * 0xbf58'476d'1ce4'e5b9;
    x = (x ^ x >> 27U) * 0x94d0'49bb'1331'11eb;
    return x ^ x >> 31U;
}

std::uint64_t mix(std::uint64_t hash, std::span<const std::byte> bytes) {
    hash = mix(hash, bytes.size());
    for (const std::byte byte : bytes)
        hash = mix(hash, std::to_integer<std::uint64_t>(byte));
    return hash;
}

std::uint64_t mix(std::uint64_t hash, const Input& input) {
    hash = mix(hash, input.index());
    return std::visit(
        Overloaded{
            [&](const input::Time& time) {
                return mix(hash, static_cast<std::uint64_t>(time.now.time_since_epoch().count()));
            },
            [&](const input::WallClock& clock) {
                return mix(hash, static_cast<std::uint64_t>(clock.at.time_since_epoch().count()));
            },
            [&](const input::ConsoleBytes& console) {
                return mix(mix(hash, static_cast<std::uint64_t>(console.port)), console.bytes);
            },
            [&](const input::Packet& packet) { return mix(mix(hash, packet.nic), packet.frame); },
            [&](const input::DiskCompletion& done) {
                return mix(mix(mix(mix(hash, done.disk), done.id), std::uint64_t{done.ok}),
                           done.data);
            },
            [&](const input::Entropy& entropy) {
                return mix(mix(hash, entropy.id), entropy.bytes);
            },
            [&](const input::PowerButton&) { return mix(hash, std::uint64_t{1}); },
        },
        input);
}

constexpr std::uint64_t kMostSteps = 4000;  // Of a stretch without an exit.
constexpr std::uint32_t kMostWaiting = 4;   // Frames or console inputs that a device holds.

}  // namespace

ToyMachine::ToyMachine(std::span<const std::byte> rng_seed, const ToyOptions& options)
    : options_(options) {
    std::uint64_t hash = mix(0, rng_seed);
    for (auto& value : cpu_.registers)
        value = hash = mix(hash, std::uint64_t{1});
    for (auto& word : memory_)
        word = hash = mix(hash, std::uint64_t{2});
}

std::uint64_t ToyMachine::draw() {
    auto& registers = cpu_.registers;
    registers[0] = mix(registers[0], registers[1] ^ memory_[registers[2] % kWords]);
    return registers[0];
}

void ToyMachine::compute_step() {
    ++steps_;
    const std::uint64_t x = draw();
    auto& registers = cpu_.registers;
    registers[1 + x % 7] += std::rotl(x, 17);
    memory_[(x >> 8U) % kWords] ^= registers[(x >> 16U) % 8];
    if (options_.shows_time) {
        registers[7] ^= static_cast<std::uint64_t>(now_.time_since_epoch().count());
    }
    cpu_.lets_interrupt = static_cast<std::uint64_t>((x >> 24U) % 4 != 0);
    --cpu_.stretch;
}

bool ToyMachine::enter() {
    if (halted_ && pending_ == 0) return false;
    const bool is_woken = std::exchange(halted_, false);
    if (pending_ != 0 && (cpu_.lets_interrupt != 0 || is_woken)) {
        cpu_.registers[3] = mix(cpu_.registers[3] ^ std::exchange(pending_, 0), inbox_);
        waiting_frames_ = {};
        waiting_console_ = {};
    }
    wants_window_ = pending_ != 0;
    entered_ = true;
    return true;
}

bool ToyMachine::is_kicked() {
    if (steps_to_kick_ && (*steps_to_kick_)-- == 0) {
        steps_to_kick_.reset();
        kicked_ = true;
    }
    return kicked_;
}

Result<Stop> ToyMachine::run() {
    if (reads_clock_) return finish_clock_read();
    if (!enter()) return stop::Halted{};
    while (true) {
        if (is_kicked()) return stop::Kicked{};
        compute_step();
        if (is_faulty_from(ToyFault::Kind::kHangs)) cpu_.stretch += 1;
        if (cpu_.stretch > 0 && !(wants_window_ && cpu_.lets_interrupt != 0)) continue;
        const Stop stop = exit();
        if (is_faulty_from(ToyFault::Kind::kCrashes)) {
            return stop::Crashed{"the toy's host gave up"};
        }
        const bool may_skip = std::holds_alternative<stop::Exit>(stop);
        if (!may_skip || !is_fault(ToyFault::Kind::kSkipsStop, landmark_.exits)) return stop;
        (void)enter();
    }
}

// What every exit does: the guest reads what the devices hold, and all of it goes into the digest.
void ToyMachine::begin_exit(std::uint64_t kind) {
    ++landmark_.exits;
    entered_ = false;
    std::uint64_t data = inbox_;
    if (is_faulty_from(ToyFault::Kind::kHostClock)) data = mix(data, options_.fault.host_clock);
    last_kind_ = kind;
    digest_ = mix(mix(digest_, kind), data);
    for (const std::uint64_t value : cpu_.registers)
        digest_ = mix(digest_, value);
    cpu_.registers[4] = mix(cpu_.registers[4], data);
    if (late_) take_input(*input_of(*std::exchange(late_, std::nullopt)));
}

Stop ToyMachine::exit() {
    // The window that opens may be where a stretch ends too.
    if (cpu_.stretch > 0) {
        begin_exit(0);
        return stop::Exit{};
    }
    const std::uint64_t what = draw();
    cpu_.stretch = what % 16 == 0 ? 1 + (what >> 8U) % kMostSteps : 1 + (what >> 8U) % 16;
    begin_exit(1 + (what >> 32U) % 16);
    const bool may_end = landmark_.exits > options_.least_life;
    if (may_end && (what >> 40U) % options_.mean_life == 0) return end_life(what >> 24U);
    switch ((what >> 32U) % 16) {
        case 0:
        case 1:
        case 2:
            return ask_for(what >> 20U);
        case 3:
        case 4:
            return put_out(what >> 20U);
        case 5:
        case 6:
        case 7:
            reads_clock_ = true;
            return stop::NeedsTime{};
        case 8:
            deadline_ = now_ + std::chrono::nanoseconds((what >> 16U) % 10'000'000);
            return stop::Exit{};
        case 9:
        case 10:
            halted_ = true;
            // As late as this an interrupt wakes it at once.
            if (pending_ != 0) return stop::Exit{};
            return stop::Halted{};
        default:
            return stop::Exit{};
    }
}

Stop ToyMachine::finish_clock_read() {
    reads_clock_ = false;
    ++landmark_.exits;
    entered_ = false;
    cpu_.registers[5] =
        mix(cpu_.registers[5], static_cast<std::uint64_t>(now_.time_since_epoch().count()));
    return stop::Exit{};
}

Stop ToyMachine::ask_for(std::uint64_t what) {
    const std::uint64_t id = next_request_++;
    const std::uint64_t length = 1 + (what >> 4U) % 40;
    if (what % 4 == 0) {
        put(output::EntropyRequest{id, static_cast<std::uint32_t>(length)});
        return stop::Exit{};
    }
    output::DiskRequest request;
    request.disk = static_cast<std::uint32_t>(what >> 10U) % 2;
    request.id = id;
    request.operation = static_cast<output::DiskOperation>(what % 5);
    request.offset = (what >> 12U) % 4096;
    request.length = length;
    if (request.operation == output::DiskOperation::kWrite) {
        request.data = SharedBytes::copy_of(some_bytes(length));
    }
    put(std::move(request));
    return stop::Exit{};
}

Stop ToyMachine::put_out(std::uint64_t what) {
    const auto bytes = some_bytes(12 + (what >> 8U) % 30);
    const auto nic = static_cast<std::uint32_t>(what >> 4U) % 2;
    switch (what % 4) {
        case 0:
            put(output::ConsoleBytes{bytes, static_cast<ConsolePort>(nic)});
            break;
        case 1:
            put(output::NicOffload{nic, (what & 0x100U) != 0, (what & 0x200U) != 0});
            break;
        default:
            // More than one output may leave at one landmark.
            put(output::Packet{nic, bytes});
            if (what % 4 == 3) put(output::Packet{nic, some_bytes(12)});
            break;
    }
    return stop::Exit{};
}

Stop ToyMachine::end_life(std::uint64_t what) {
    switch (what % 4) {
        case 0:
            return stop::PoweredOff{};
        case 1:
            return stop::Reset{.triple_fault = true};
        default:
            return stop::Reset{};
    }
}

void ToyMachine::put(Output output) {
    ++outputs_made_;
    if (is_fault(ToyFault::Kind::kForgetsOutput, outputs_made_)) return;
    outputs_.push_back(std::move(output));
}

std::vector<std::byte> ToyMachine::some_bytes(std::size_t count) {
    std::vector<std::byte> bytes(count);
    for (auto& byte : bytes)
        byte = static_cast<std::byte>(draw());
    return bytes;
}

std::vector<Output> ToyMachine::take_outputs() {
    return std::exchange(outputs_, {});
}

void ToyMachine::apply(const Input& input) {
    ++inputs_;
    if (is_fault(ToyFault::Kind::kForgetsInput, inputs_)) return;
    if (is_fault(ToyFault::Kind::kInputLate, inputs_)) {
        late_ = body_of(input);
        return;
    }
    take_input(input);
}

void ToyMachine::take_input(const Input& input) {
    inbox_ = mix(inbox_, input);
    memory_[inbox_ % kWords] = mix(memory_[inbox_ % kWords], inbox_);
    if (const auto* time = std::get_if<input::Time>(&input)) {
        now_ = time->now;
        if (!deadline_ || *deadline_ > now_) return;
        deadline_.reset();
    } else if (const auto* packet = std::get_if<input::Packet>(&input)) {
        ++waiting_frames_[packet->nic % 2];
    } else if (const auto* console = std::get_if<input::ConsoleBytes>(&input)) {
        ++waiting_console_[static_cast<std::size_t>(console->port)];
    }
    pending_ |= std::uint64_t{1} << input.index();
}

bool ToyMachine::wants_packets(std::uint32_t nic) const {
    return waiting_frames_[nic % 2] < kMostWaiting;
}

bool ToyMachine::wants_console_bytes(ConsolePort port) const {
    return waiting_console_[static_cast<std::size_t>(port)] < kMostWaiting;
}

std::uint64_t ToyMachine::memory_hash() const {
    std::uint64_t hash = 0;
    for (const std::uint64_t word : memory_)
        hash = mix(hash, word);
    return hash;
}

std::optional<CpuRegisters> ToyMachine::registers() const {
    CpuRegisters registers{};
    std::ranges::copy(cpu_.registers, registers.begin());
    return registers;
}

// What it exits for is a port to it.
std::optional<ExitFacts> ToyMachine::last_exit() const {
    return ExitFacts{ExitReason::kOut, last_kind_, 0, *registers()};
}

Result<std::vector<std::byte>> ToyMachine::take_checkpoint() {
    std::vector<std::byte> state(sizeof(cpu_) + sizeof(memory_) + 1);
    const auto rest = std::span(state).subspan(1);
    // Without it a machine that loads this would not know whether the guest took an interrupt.
    state[0] = static_cast<std::byte>(std::exchange(entered_, false));
    std::memcpy(rest.data(), &cpu_, sizeof(cpu_));
    std::memcpy(rest.subspan(sizeof(cpu_)).data(), &memory_, sizeof(memory_));
    ++landmark_.checkpoints;
    return state;
}

Result<void> ToyMachine::load_checkpoint(std::span<const std::byte> state) {
    if (state.size() != sizeof(cpu_) + sizeof(memory_) + 1 || state[0] > std::byte{1}) {
        return fail("it is no state of a toy");
    }
    const auto rest = state.subspan(1);
    Cpu cpu;
    std::memcpy(&cpu, rest.data(), sizeof(cpu));
    if (cpu.stretch == 0 || cpu.stretch > kMostSteps) return fail("it is no state of a toy");
    const auto memory = memory_;
    if (state[0] != std::byte{0}) (void)enter();
    entered_ = false;
    cpu_ = cpu;
    std::memcpy(&memory_, rest.subspan(sizeof(cpu_)).data(), sizeof(memory_));
    ++loads_;
    const ToyFault& fault = options_.fault;
    if (fault.kind == ToyFault::Kind::kForgetsMemory && loads_ >= fault.nth) memory_ = memory;
    ++landmark_.checkpoints;
    return {};
}

std::uint64_t hash_of(const Output& output) {
    const std::uint64_t hash = output.index();
    return std::visit(
        Overloaded{
            [&](const output::ConsoleBytes& console) {
                return mix(mix(hash, static_cast<std::uint64_t>(console.port)), console.bytes);
            },
            [&](const output::Packet& packet) { return mix(mix(hash, packet.nic), packet.frame); },
            [&](const output::NicOffload& offload) {
                return mix(mix(hash, offload.nic), std::uint64_t{offload.checksum} |
                                                       std::uint64_t{offload.tso4} << 1U |
                                                       std::uint64_t{offload.tso6} << 2U |
                                                       std::uint64_t{offload.ecn} << 3U);
            },
            [&](const output::DiskRequest& request) {
                const auto operation = static_cast<std::uint64_t>(request.operation);
                const std::uint64_t where = mix(mix(request.disk, request.offset), request.length);
                return mix(mix(mix(mix(hash, operation), where), request.id), request.data);
            },
            [&](const output::EntropyRequest& request) {
                return mix(mix(hash, request.id), std::uint64_t{request.length});
            },
        },
        output);
}

}  // namespace ftvmm::replay::testing
