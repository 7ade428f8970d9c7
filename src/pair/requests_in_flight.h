// What a followed guest has asked its host for and was not answered, and what it has set there.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "replay/output.h"
#include "replay/record.h"

namespace ftvmm::pair {

// A Secondary that goes live asks its own host for these once more: the Primary may have carried
// them out, or not. A record is known before the guest comes to it, so an answer may be told of
// before its request. Pure.
class RequestsInFlight {
  public:
    // What the guest has put out; what is no request changes nothing.
    void add(replay::Output output);
    // What it was given, or will be; what is no answer changes nothing.
    void add(const replay::Record& record);
    // The guest has come to the beginning of its next life: nothing of the last one is in flight.
    void begin_life();

    // Requires that the guest has come to all records that were told of. How its cards are set,
    // then requests in the order in which it asked.
    [[nodiscard]] std::vector<replay::Output> take();

  private:
    struct Key {
        std::uint64_t life = 0;
        bool is_disk = false;
        std::uint32_t disk = 0;
        std::uint64_t id = 0;
        // NOLINTNEXTLINE(modernize-use-nullptr): clang-tidy 14 takes the 0 in <=> for a pointer.
        auto operator<=>(const Key&) const = default;
    };
    struct Request {
        bool is_asked = false;  // Else it is answered already.
        std::uint64_t number = 0;
        replay::Output output;
    };
    void answer(const Key& key);

    std::uint64_t life_ = 0;  // The guest's,
    std::uint64_t told_ = 0;  // and that of the records.
    std::uint64_t asked_ = 0;
    std::map<Key, Request> requests_;
    std::map<std::uint32_t, replay::output::NicOffload> offloads_;  // By card.
};

}  // namespace ftvmm::pair
