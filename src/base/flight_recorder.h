// The last events of each thread, kept in memory for the moment something goes wrong.
//
// Noting an event is a few stores and never allocates or blocks; dump() formats with write(2)
// alone, so a failed check can use it anywhere. Each thread has its own ring and only that thread
// touches it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace ftvmm {

class FlightRecorder {
  public:
    // Enough to see the exits that led to a failure, small enough to print whole.
    static constexpr std::size_t kEvents = 64;

    struct Event {
        const char* name = nullptr;  // A string literal.
        std::uint64_t a = 0;
        std::uint64_t b = 0;
    };

    // The calling thread's recorder; it lives as long as the thread.
    static FlightRecorder& this_thread() noexcept;

    void note(const char* name, std::uint64_t a = 0, std::uint64_t b = 0) noexcept {
        events_[noted_ % kEvents] = Event{name, a, b};
        ++noted_;
    }

    // Writes one line per event kept, oldest first, as "  #<n> <name> <a> <b>" with a, b in hex.
    void dump(int fd) const noexcept;

  private:
    std::array<Event, kEvents> events_{};
    std::uint64_t noted_ = 0;
};

}  // namespace ftvmm
