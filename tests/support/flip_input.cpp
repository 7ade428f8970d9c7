// flip_input LOG OUT SEED data|typed|time: a copy of LOG with one bit of one input changed, chosen
// by SEED, and every checksum right: of one that brings data, of what was typed last on a console
// (what comes first is lost on a guest that boots), or of a time. Prints which.
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string_view>
#include <vector>

#include "base/overloaded.h"
#include "base/random.h"
#include "replay/log_file.h"
#include "replay/log_format.h"
#include "replay/record_codec.h"

namespace ftvmm::replay {
namespace {

// What can be changed in a record without making it another kind of thing.
std::span<std::byte> changeable(Body& body, std::string_view what) {
    if (what == "typed" && !std::holds_alternative<record::ConsoleBytes>(body)) return {};
    return std::visit(
        Overloaded{
            [](input::WallClock& clock) { return std::as_writable_bytes(std::span(&clock, 1)); },
            [](record::ConsoleBytes& typed) { return std::span(typed.bytes); },
            [](record::Packet& packet) { return std::span(packet.frame); },
            [](record::DiskCompletion& end) { return std::span(end.data); },
            [](record::Entropy& entropy) { return std::span(entropy.bytes); },
            [](auto&) { return std::span<std::byte>(); },
        },
        body);
}

void flip(std::span<std::byte> bytes, std::uint64_t bit) {
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
}

bool is_candidate(Body& body, std::string_view what) {
    if (what == "time") return std::holds_alternative<input::Time>(body);
    return !changeable(body, what).empty();
}

void change(Body& body, std::string_view what, std::uint64_t random) {
    if (auto* time = std::get_if<input::Time>(&body)) {
        // Between 64 us and 67 ms: less is lost in what any clock tells.
        constexpr unsigned kLowest = 16;
        constexpr unsigned kBits = 10;
        const auto ns = static_cast<std::uint64_t>(time->now.time_since_epoch().count()) ^
                        (std::uint64_t{1} << (kLowest + random % kBits));
        time->now = GuestTime(std::chrono::nanoseconds(static_cast<std::int64_t>(ns)));
        return;
    }
    const auto bytes = changeable(body, what);
    flip(bytes, random % (bytes.size() * 8));
}

Result<void> copy(const std::string& from, const std::string& to, std::uint64_t seed,
                  std::string_view what) {
    std::uint64_t candidates = 0;
    FTVMM_ASSIGN(auto first, LogReader::open(from));
    while (true) {
        FTVMM_ASSIGN(auto batch, first.next());
        if (!batch) break;
        for (Record& each : batch->records)
            candidates += is_candidate(each.body, what) ? 1 : 0;
    }
    if (candidates == 0) return fail("the log has no such input");
    SeededEntropy entropy(seed);
    std::array<std::uint64_t, 2> random{};
    entropy.fill(std::as_writable_bytes(std::span(random)));
    std::uint64_t left = what == "typed" ? candidates - 1 : random[0] % candidates;

    FTVMM_ASSIGN(auto reader, LogReader::open(from));
    FTVMM_ASSIGN(auto writer, LogWriter::create(to, reader.header()));
    bool done = false;
    while (true) {
        FTVMM_ASSIGN(auto batch, reader.next());
        if (!batch) return {};
        RecordEncoder encoder;
        for (Record& each : batch->records) {
            if (!done && is_candidate(each.body, what) && left-- == 0) {
                done = true;
                change(each.body, what, random[1]);
                fmt::print("changed: {}\n", describe(each));
            }
            (void)encoder.add(each);
        }
        FTVMM_TRY(writer.append(make_batch(batch->first, batch->records.size(), encoder.take())));
    }
}

}  // namespace
}  // namespace ftvmm::replay

int main(int argc, char** argv) {
    try {
        const std::span arguments(argv, static_cast<std::size_t>(argc));
        if (arguments.size() != 5) {
            fmt::print(stderr, "usage: flip_input LOG OUT SEED data|typed|time\n");
            return 2;
        }
        const auto done = ftvmm::replay::copy(
            arguments[1], arguments[2], std::strtoull(arguments[3], nullptr, 10), arguments[4]);
        if (done) return 0;
        fmt::print(stderr, "flip_input: {}\n", done.error().line());
    } catch (const std::exception& error) {
        std::fputs(error.what(), stderr);
    }
    return 1;
}
