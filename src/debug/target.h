// What a debugger can be shown: a guest that may be looked at and moved through, not changed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>

#include "base/result.h"
#include "debug/registers.h"

namespace ftvmm::debug {

// Stretches of the guest's linear addresses whose change stops it.
struct Watch {
    std::uint64_t address = 0;
    std::uint64_t bytes = 0;
    bool operator==(const Watch&) const = default;
};

// The longest that may be watched.
inline constexpr std::uint64_t kMostWatchedBytes = 4096;
// As many of either kind as a person sets, and a program that goes wrong may.
inline constexpr std::size_t kMostBreakpoints = 256;

namespace stopped {

struct Stepped {};     // As it was asked to.
struct Breakpoint {};  // The next instruction is one that a breakpoint is on.
// Forwards the instruction that changed it is behind the guest; backwards it is the next.
struct Watched {
    std::uint64_t address = 0;  // The Watch's own.
};
struct Interrupted {};  // Somebody wished it.
struct AtBegin {};      // There is nothing before.
struct AtEnd {};        // There is nothing more.

}  // namespace stopped

using Stopped = std::variant<stopped::Stepped, stopped::Breakpoint, stopped::Watched,
                             stopped::Interrupted, stopped::AtBegin, stopped::AtEnd>;

enum class Move : std::uint8_t { kStep, kContinue, kReverseStep, kReverseContinue };

// One thread. An error is one after which there is nothing left to debug.
class Target {
  public:
    Target() = default;
    Target(const Target&) = delete;
    Target& operator=(const Target&) = delete;
    virtual ~Target() = default;

    [[nodiscard]] virtual Result<Registers> registers() = 0;
    // Fills `bytes` with what lies at the linear address; how many of them are there to be read.
    [[nodiscard]] virtual std::size_t read_memory(std::uint64_t address,
                                                  std::span<std::byte> bytes) = 0;
    // Goes on in time, or back in it, until something stops it.
    [[nodiscard]] virtual Result<Stopped> move(Move move) = 0;

    // What stops it from here on. No address is given twice before it is removed; up to
    // kMostBreakpoints of each.
    virtual void add_breakpoint(std::uint64_t address) = 0;
    virtual void remove_breakpoint(std::uint64_t address) = 0;
    virtual void add_watch(const Watch& watch) = 0;
    virtual void remove_watch(const Watch& watch) = 0;
};

}  // namespace ftvmm::debug
