// flip_input LOG OUT SEED any|data|typed|time: a copy of LOG with one bit of one input changed,
// chosen by SEED, and every checksum right. `any`: a kind of input, one of that kind, and any bit
// of it, each as likely as the others. `data`: of one that brings data. `typed`: of what was typed
// last on a console (what comes first is lost on a guest that boots). `time`: of a time, more than
// is lost in what any clock tells. Prints which.
#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/overloaded.h"
#include "base/random.h"
#include "replay/log_file.h"
#include "replay/log_format.h"
#include "replay/record_codec.h"

namespace ftvmm::replay {
namespace {

using Bytes = std::span<std::byte>;

// What can be changed in a record without making it another kind of thing.
Bytes changeable(Body& body, std::string_view what) {
    const bool all = what == "any";
    if (what == "typed" && !std::holds_alternative<record::ConsoleBytes>(body)) return {};
    return std::visit(
        Overloaded{
            [&](input::Time& time) {
                const bool is_chosen = all || what == "time";
                return is_chosen ? std::as_writable_bytes(std::span(&time, 1)) : Bytes();
            },
            [](input::WallClock& clock) { return std::as_writable_bytes(std::span(&clock, 1)); },
            [](record::ConsoleBytes& typed) { return Bytes(typed.bytes); },
            [](record::Packet& packet) { return Bytes(packet.frame); },
            [](record::DiskCompletion& end) { return Bytes(end.data); },
            [](record::Entropy& entropy) { return Bytes(entropy.bytes); },
            [](auto&) { return Bytes(); },
        },
        body);
}

bool is_candidate(Body& body, std::string_view what) {
    const bool is_time = std::holds_alternative<input::Time>(body);
    return !changeable(body, what).empty() && (what != "time" || is_time);
}

void change(Body& body, std::string_view what, std::uint64_t random) {
    const Bytes bytes = changeable(body, what);
    std::uint64_t bit = random % (bytes.size() * 8);
    if (what == "time") {
        // Between 64 us and 67 ms.
        constexpr unsigned kLowest = 16;
        constexpr unsigned kBits = 10;
        bit = kLowest + random % kBits;
    }
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    fmt::print("bit {} of: {}\n", bit, describe(body));
}

// How many there are of each kind.
using Candidates = std::array<std::uint64_t, kRecordKinds>;

Result<Candidates> count(const std::string& log, std::string_view what) {
    Candidates candidates{};
    FTVMM_ASSIGN(auto reader, LogReader::open(log));
    while (true) {
        FTVMM_ASSIGN(auto batch, reader.next());
        if (!batch) return candidates;
        for (Record& each : batch->records)
            candidates.at(each.body.index()) += is_candidate(each.body, what) ? 1 : 0;
    }
}

// The `left`-th of all candidates, or of those of one kind.
struct Choice {
    std::optional<std::size_t> kind;
    std::uint64_t left = 0;
};

Choice choose(const Candidates& candidates, std::string_view what, std::uint64_t random,
              std::uint64_t random_kind) {
    if (what == "any") {
        std::vector<std::size_t> kinds;
        for (std::size_t kind = 0; kind < kRecordKinds; ++kind) {
            if (candidates.at(kind) != 0) kinds.push_back(kind);
        }
        const std::size_t kind = kinds.at(random_kind % kinds.size());
        return {kind, random % candidates.at(kind)};
    }
    const auto all = std::accumulate(candidates.begin(), candidates.end(), std::uint64_t{0});
    return {std::nullopt, what == "typed" ? all - 1 : random % all};
}

Result<void> copy(const std::string& from, const std::string& to, std::uint64_t seed,
                  std::string_view what) {
    FTVMM_ASSIGN(const auto candidates, count(from, what));
    if (candidates == Candidates{}) return fail("the log has no such input");
    SeededEntropy entropy(seed);
    std::array<std::uint64_t, 3> random{};
    entropy.fill(std::as_writable_bytes(std::span(random)));
    Choice choice = choose(candidates, what, random[0], random[2]);

    FTVMM_ASSIGN(auto reader, LogReader::open(from));
    FTVMM_ASSIGN(auto writer, LogWriter::create(to, reader.header()));
    bool done = false;
    std::uint64_t next = 0;
    while (true) {
        FTVMM_ASSIGN(auto batch, reader.next());
        if (!batch) return {};
        RecordEncoder encoder;
        for (Record& each : batch->records) {
            const bool is_kind = !choice.kind || *choice.kind == each.body.index();
            if (!done && is_kind && is_candidate(each.body, what) && choice.left-- == 0) {
                done = true;
                change(each.body, what, random[1]);
                fmt::print("changed: record {}, {}\n", next, describe(each));
            }
            ++next;
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
            fmt::print(stderr, "usage: flip_input LOG OUT SEED any|data|typed|time\n");
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
