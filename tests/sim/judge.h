// What must hold of a pair at all times. It knows both sides, and neither knows it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "plan.h"
#include "replay/landmark.h"
#include "replay/record.h"

namespace ftvmm::sim {

// Instants are true time. The first violation is kept.
class Judge {
  public:
    explicit Judge(const Plan& plan) : plan_(plan) {}

    void violated(const std::string& what);
    [[nodiscard]] const std::optional<std::string>& violation() const { return violation_; }

    // The Primary's guest came to a landmark of its `life`-th life; it made an output, whose mark
    // is record `mark`; and one left its gate.
    void primary_at(std::uint64_t life, replay::Landmark at, std::uint64_t digest);
    void made(replay::Seq mark, std::uint64_t hash, Instant now);
    void released(std::uint64_t hash, Instant now);

    // The same of the Secondary's guest.
    void secondary_at(std::uint64_t life, replay::Landmark at, std::uint64_t digest);
    void replayed(std::uint64_t hash);
    // The Secondary holds every record before `next`, whole and checked.
    void holds(replay::Seq next) { held_ = next; }
    // It promised not to go live before `end`.
    void promised(Instant end) { promised_to_ = end; }
    // It goes live.
    void goes_live(Instant now);
    // It has replayed all that it held, and takes over.
    void takes_over();

    [[nodiscard]] bool is_live() const { return live_at_.has_value(); }
    [[nodiscard]] Instant live_at() const { return *live_at_; }
    // Outputs of the Primary's guest that did not leave.
    [[nodiscard]] std::size_t waiting() const { return outputs_.size() - released_; }
    [[nodiscard]] std::size_t released_outputs() const { return released_; }

  private:
    struct Made {
        replay::Seq mark;
        std::uint64_t hash = 0;
        Instant at;
    };
    struct Place {
        std::uint64_t life = 0;
        replay::Landmark at;
        std::uint64_t digest = 0;
    };

    const Plan& plan_;
    std::optional<std::string> violation_;
    std::vector<Made> outputs_;
    std::size_t released_ = 0;
    std::size_t replayed_ = 0;
    std::vector<Place> places_;
    std::size_t place_ = 0;  // Where the Secondary is, in places_.
    replay::Seq held_;
    Instant promised_to_{};
    std::optional<Instant> live_at_;
};

}  // namespace ftvmm::sim
