// Any bytes as a log. What is taken comes back as it was when it is written again, and a guest that
// is given it ends, goes on, or diverges.
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "base/check.h"
#include "fuzz_input.h"
#include "replay/log_format.h"
#include "replay/log_header.h"
#include "replay/record_codec.h"
#include "replay/replayer.h"
#include "toy_machine.h"

namespace ftvmm::fuzz {
namespace {

using namespace replay;

// What a guest may compute between two landmarks, and how far it is taken: an input is no test of
// patience.
constexpr std::uint64_t kMostSteps = 10'000;
constexpr int kMostLandmarks = 200;

void replay_on_toy(const Batch& batch) {
    Replayer replayer({.first = batch.first});
    std::unique_ptr<replay::testing::ToyMachine> machine;
    FTVMM_CHECK(replayer.feed(batch), "the first batch is the one that was announced");
    for (int i = 0; i < kMostLandmarks; ++i) {
        if (machine) machine->kick_after(kMostSteps);
        const auto step = replayer.step();
        if (!step) return;
        if (const auto* diverged = std::get_if<step::Diverged>(&*step)) {
            FTVMM_CHECK(!describe(diverged->divergence).empty(), "divergence can be told");
            return;
        }
        if (const auto* on = std::get_if<step::PowersOn>(&*step)) {
            machine = std::make_unique<replay::testing::ToyMachine>(on->record.rng_seed);
            replayer.power_on(*machine);
        } else if (!std::holds_alternative<step::Progress>(*step) &&
                   !std::holds_alternative<step::Ended>(*step)) {
            return;
        }
    }
}

void try_batch(std::span<const std::byte> bytes) {
    const auto batch = decode_batch(bytes);
    if (!batch) {
        FTVMM_CHECK(!batch.error().what().empty(), "what is wrong can be told");
        return;
    }
    RecordEncoder encoder;
    for (const Record& record : batch->records) {
        FTVMM_CHECK(!describe(record).empty(), "a record can be told");
        encoder.add(record);
    }
    // Numbers may have been written longer than they need be, so this is not longer.
    const auto payload = encoder.take();
    const auto again = decode_batch(make_batch(batch->first, batch->records.size(), payload));
    FTVMM_CHECK(again && *again == *batch, "what was read is written and read the same");
    replay_on_toy(*batch);
}

// A batch around `payload`, with the checksums that it must have.
void try_payload(FuzzInput& input, std::span<const std::byte> rest) {
    BatchHeader header;
    header.is_compressed = input.take_bool();
    header.records = input.take<std::uint16_t>();
    header.first = Seq(input.take<std::uint8_t>());
    const auto payload = rest.subspan(std::min<std::size_t>(rest.size(), 8));
    header.stored_bytes = static_cast<std::uint32_t>(payload.size());
    // Up to 16 MiB: more costs no more than time.
    const auto raw_bytes = input.take<std::uint32_t>() & 0xff'ffff;
    header.raw_bytes = header.is_compressed ? raw_bytes : header.stored_bytes;
    header.checksum = XXH3_64bits(payload.data(), payload.size());
    const auto bytes = header.encode();
    std::vector<std::byte> batch(bytes.begin(), bytes.end());
    batch.insert(batch.end(), payload.begin(), payload.end());
    try_batch(batch);
}

void try_header(std::span<const std::byte> message) {
    std::vector<std::byte> bytes(kLogHeaderPrefixBytes);
    const std::uint32_t version = 1;
    const auto size = static_cast<std::uint32_t>(message.size());
    std::memcpy(bytes.data(), "FTVMMLOG", 8);
    std::memcpy(&bytes[8], &version, sizeof(version));
    std::memcpy(&bytes[12], &size, sizeof(size));
    bytes.insert(bytes.end(), message.begin(), message.end());
    const std::uint64_t sum = XXH3_64bits(bytes.data(), bytes.size());
    const auto stored = std::as_bytes(std::span(&sum, 1));
    bytes.insert(bytes.end(), stored.begin(), stored.end());
    const auto header = decode_log_header(bytes);
    if (!header) return;
    FTVMM_CHECK(!mismatch(*header, *header), "a log is of the VM that it is of");
    const auto written = encode_log_header(*header);
    FTVMM_CHECK(written, "what fitted into a header fits again");
    const auto again = decode_log_header(*written);
    FTVMM_CHECK(again && *again == *header, "a header comes back as it was");
}

void run(std::span<const std::uint8_t> bytes) {
    FuzzInput input(bytes);
    const auto rest = std::as_bytes(bytes.subspan(bytes.empty() ? 0 : 1));
    switch (input.below(4)) {
        case 0:
            return try_batch(rest);
        case 1:
            (void)decode_log_header(rest);
            return;
        case 2:
            return try_header(rest);
        default:
            return try_payload(input, rest);
    }
}

}  // namespace
}  // namespace ftvmm::fuzz

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    ftvmm::fuzz::run({data, size});
    return 0;
}
