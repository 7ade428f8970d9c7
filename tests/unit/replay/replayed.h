// A guest that does what a test says, replayed against records that the test made.
#pragma once

#include <utility>
#include <variant>
#include <vector>

#include <catch2/catch.hpp>

#include "replay/replayer.h"
#include "scripted_machine.h"

namespace ftvmm::replay::testing {

inline constexpr input::PowerButton kButton;

inline Body time_of(int ns) {
    return input::Time{GuestTime(GuestTime::duration(ns))};
}

// A replay from the middle of a life, at landmark zero.
struct Replay {
    explicit Replay(std::vector<Record> records, const ReplayOptions& options = {})
        : replayer(machine, options) {
        const auto fed = replayer.feed({options.first, std::move(records)});
        REQUIRE(fed);
    }
    Step step() {
        auto result = replayer.step();
        REQUIRE(result);
        return std::move(*result);
    }
    // Steps until something else than progress comes of it.
    Step go() {
        while (true) {
            auto result = step();
            if (!std::holds_alternative<step::Progress>(result)) return result;
        }
    }
    Divergence divergence() {
        const Step last = go();
        REQUIRE(std::holds_alternative<step::Diverged>(last));
        return std::get<step::Diverged>(last).divergence;
    }

    ScriptedMachine machine;
    Replayer replayer;
};

inline bool needs_records(const Step& step) {
    return std::holds_alternative<step::NeedsRecords>(step);
}

}  // namespace ftvmm::replay::testing
