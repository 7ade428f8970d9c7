// Where code reads the processor's time stamp counter.
//
// RDTSC's and RDTSCP's bytes are rare, and where they do not stand there is nothing to find. So
// code is searched for them, and only the question whether such a candidate is an instruction or a
// part of one takes a disassembler, which is a hundred times slower.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace ftvmm::boot {

// How the processor runs the code. What it makes of the same bytes differs, their lengths included.
enum class CodeMode : std::uint8_t { k64Bit, k32Bit };

enum class TscKind : std::uint8_t { kRdtsc, kRdtscp };

struct TscSite {
    std::size_t offset;  // Of the opcode's first byte, behind any prefixes.
    TscKind kind;

    bool operator==(const TscSite&) const = default;
};

struct TscSites {
    std::vector<TscSite> sites;  // Ascending.
    // Candidates that are parts of other instructions.
    std::size_t lookalikes = 0;
    // Bytes that were disassembled from a place that is certain, and how many of them start no
    // instruction that the disassembler knows.
    std::size_t swept_bytes = 0;
    std::size_t undecoded_bytes = 0;
    // A candidate about which data near it leaves doubt: the search ended there.
    std::optional<std::size_t> doubtful;
};

// `code` disassembled from its first byte to its last; a byte at which no instruction starts is
// stepped over. `functions`, ascending offsets, each start an instruction even where the one before
// seems to reach beyond: so data before a function cannot hide its first bytes. Never doubtful.
TscSites sweep_all(std::span<const std::byte> code, std::span<const std::size_t> functions,
                   CodeMode mode = CodeMode::k64Bit);

// The same sites and lookalikes from a sweep of a stretch before each candidate. No instruction is
// longer than 15 bytes, so the sweep of all starts an instruction in any 15 consecutive ones:
// sweeps from each of these 15, once they have met in one place, are on its path. Where they do not
// meet before the candidate, the stretch is widened, in the end to a place known to be on the path,
// the first byte of `code` among them. One thing is stricter: a byte that does not decode is data,
// an instruction may start at any of the 15 behind it, and where that leaves a choice the candidate
// is doubtful.
TscSites sweep_candidates(std::span<const std::byte> code, std::span<const std::size_t> functions,
                          CodeMode mode = CodeMode::k64Bit);

}  // namespace ftvmm::boot
