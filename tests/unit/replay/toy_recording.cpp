#include "toy_recording.h"

#include <algorithm>
#include <array>
#include <utility>

#include <catch2/catch.hpp>

#include "replay/log_format.h"

namespace ftvmm::replay::testing {

namespace {

// What a replay may compute between two landmarks before it counts as hung.
constexpr std::uint64_t kPatience = 100'000;

std::vector<std::uint64_t> hashes_of(const std::vector<Output>& outputs) {
    std::vector<std::uint64_t> hashes;
    hashes.reserve(outputs.size());
    for (const Output& output : outputs)
        hashes.push_back(hash_of(output));
    return hashes;
}

}  // namespace

ToyWorld::ToyWorld(std::uint64_t seed, const RecordingOptions& options)
    : options_(options), random_(seed) {
    power_on();
}

void ToyWorld::power_on() {
    std::array<std::byte, 32> rng_seed{};
    random_.fill(rng_seed);
    disk_requests_.clear();
    entropy_requests_.clear();
    machine_ = std::make_unique<ToyMachine>(rng_seed, options_.toy);
    recorder_.power_on(*machine_, rng_seed);
    traced_ = 0;
    give(input::WallClock{std::chrono::sys_time<std::chrono::nanoseconds>(
        std::chrono::nanoseconds(1'700'000'000'000'000'000 + random_.below(1'000'000'000)))});
}

void ToyWorld::end(record::EndKind kind) {
    take_outputs();
    recorder_.end(*machine_, kind);
    recording_.end = {kind, machine_->digest()};
    if (at_landmark_) recording_.memory_hash = machine_->memory_hash();
    recording_.steps += machine_->steps();
    exits_ += machine_->landmark().exits;
}

void ToyWorld::give(const Input& input) {
    recorder_.record(*machine_, input);
    machine_->apply(input);
}

void ToyWorld::give_time(std::uint64_t most_ns) {
    give(input::Time{machine_->now() + std::chrono::nanoseconds(random_.below(most_ns))});
}

std::vector<std::byte> ToyWorld::some_bytes(std::uint64_t most) {
    std::vector<std::byte> bytes(random_.below(most));
    random_.fill(bytes);
    return bytes;
}

bool ToyWorld::answer() {
    if (!disk_requests_.empty()) {
        const auto at = disk_requests_.begin() +
                        static_cast<std::ptrdiff_t>(random_.below(disk_requests_.size()));
        const auto request = std::move(*at);
        disk_requests_.erase(at);
        const bool is_read = request.operation == output::DiskOperation::kRead;
        const auto data = is_read ? some_bytes(request.length + 1) : std::vector<std::byte>();
        give(input::DiskCompletion{request.disk, request.id, random_.below(9) != 0, data});
        return true;
    }
    if (entropy_requests_.empty()) return false;
    const auto request = entropy_requests_.front();
    entropy_requests_.erase(entropy_requests_.begin());
    std::vector<std::byte> bytes(request.length);
    random_.fill(bytes);
    give(input::Entropy{request.id, bytes});
    return true;
}

void ToyWorld::give_anything() {
    switch (random_.below(6)) {
        case 0: {
            const auto nic = static_cast<std::uint32_t>(random_.below(2));
            if (machine_->wants_packets(nic)) give(input::Packet{nic, some_bytes(300)});
            return;
        }
        case 1: {
            const auto port = static_cast<ConsolePort>(random_.below(2));
            if (machine_->wants_console_bytes(port)) give(input::ConsoleBytes{some_bytes(5), port});
            return;
        }
        case 2:
            if (random_.below(20) == 0) give(input::PowerButton{});
            return;
        case 3:
            (void)answer();
            return;
        default:
            give_time(2'000'000);
            return;
    }
}

void ToyWorld::give_random_inputs() {
    while (random_.below(4) == 0)
        give_anything();
}

void ToyWorld::take_outputs() {
    for (Output& output : machine_->take_outputs()) {
        if (options_.marks_outputs) recorder_.output_mark(*machine_);
        recording_.outputs.push_back(hash_of(output));
        if (auto* disk = std::get_if<output::DiskRequest>(&output)) {
            disk_requests_.push_back(std::move(*disk));
        } else if (const auto* entropy = std::get_if<output::EntropyRequest>(&output)) {
            entropy_requests_.push_back(*entropy);
        }
    }
}

bool ToyWorld::step() {
    if (at_landmark_ && machine_->shows_time()) give_time(100'000);
    const bool is_kicked = options_.seed_kicks != 0 && random_.below(options_.seed_kicks) == 0;
    if (is_kicked) machine_->kick_after(random_.below(300));
    const auto stop = machine_->run();
    REQUIRE(stop);
    if (!handle(*stop)) return false;
    take_outputs();
    if (random_.below(50) == 0) recorder_.flush(*machine_);
    if (at_landmark_ && options_.audits && random_.below(50) == 0) recorder_.audit(*machine_);
    if (exits_ + machine_->landmark().exits < options_.most_exits) return true;
    end(record::EndKind::kStopped);
    return false;
}

void ToyWorld::trace() {
    const std::uint64_t exits = machine_->landmark().exits;
    if (!options_.traces || exits == std::exchange(traced_, exits)) return;
    recorder_.trace(*machine_, *machine_->last_exit());
}

bool ToyWorld::handle(const Stop& stop) {
    trace();
    take_outputs();
    at_landmark_ = !std::holds_alternative<stop::Kicked>(stop);
    if (!at_landmark_) {
        machine_->clear_kick();
        // Without a checkpoint nothing can be given here.
        at_landmark_ = random_.below(2) == 0;
        if (!at_landmark_) return true;
        REQUIRE(recorder_.checkpoint(*machine_));
        give_random_inputs();
        return true;
    }
    if (std::holds_alternative<stop::PoweredOff>(stop)) {
        end(record::EndKind::kPoweredOff);
        return false;
    }
    if (const auto* reset = std::get_if<stop::Reset>(&stop)) {
        end(reset->triple_fault ? record::EndKind::kTripleFault : record::EndKind::kReset);
        power_on();
        return true;
    }
    if (std::holds_alternative<stop::Crashed>(stop)) {
        end(record::EndKind::kCrashed);
        return false;
    }
    if (std::holds_alternative<stop::NeedsTime>(stop)) give_time(100'000);
    give_random_inputs();
    // Nothing else wakes it for sure.
    if (std::holds_alternative<stop::Halted>(stop)) give(input::PowerButton{});
    return true;
}

Recording ToyWorld::finish() {
    recording_.batches = recorder_.take_batches();
    recording_.statistics = recorder_.statistics();
    return std::move(recording_);
}

Recording record_toy(std::uint64_t seed, const RecordingOptions& options) {
    ToyWorld world(seed, options);
    while (world.step()) {
    }
    return world.finish();
}

std::vector<Batch> decode(std::span<const ClosedBatch> batches) {
    BatchPacker packer;
    std::vector<Batch> decoded;
    for (const ClosedBatch& closed : batches) {
        auto batch = decode_batch(packer.pack(closed.bytes));
        REQUIRE(batch);
        REQUIRE(batch->first == closed.first);
        REQUIRE(closed.last - closed.first == batch->records.size() - 1);
        decoded.push_back(std::move(*batch));
    }
    return decoded;
}

std::vector<Record> records_of(std::span<const Batch> batches) {
    std::vector<Record> records;
    for (const Batch& batch : batches)
        records.insert(records.end(), batch.records.begin(), batch.records.end());
    return records;
}

Replayed replay_toy(std::span<const Batch> batches, const ToyOptions& options,
                    const ReplayOptions& replay) {
    Replayed result;
    Replayer replayer(replay);
    std::unique_ptr<ToyMachine> machine;
    while (true) {
        if (machine) machine->kick_after(kPatience);
        auto step = replayer.step();
        REQUIRE(step);
        const auto outputs = hashes_of(replayer.take_outputs());
        result.outputs.insert(result.outputs.end(), outputs.begin(), outputs.end());
        result.next = replayer.next();
        if (std::holds_alternative<step::NeedsRecords>(*step)) {
            if (batches.empty()) return result;
            REQUIRE(replayer.feed(batches.front()));
            batches = batches.subspan(1);
        } else if (const auto* on = std::get_if<step::PowersOn>(&*step)) {
            machine = std::make_unique<ToyMachine>(on->record.rng_seed, options);
            replayer.power_on(*machine);
        } else if (const auto* ended = std::get_if<step::Ended>(&*step)) {
            result.end = ended->end;
            result.memory_hash = machine->memory_hash();
            result.steps += machine->steps();
            if (!is_reset(ended->end.kind)) return result;
        } else if (std::holds_alternative<step::Kicked>(*step)) {
            result.is_hung = true;
            return result;
        } else if (auto* diverged = std::get_if<step::Diverged>(&*step)) {
            result.divergence = std::move(diverged->divergence);
            return result;
        }
    }
}

}  // namespace ftvmm::replay::testing
