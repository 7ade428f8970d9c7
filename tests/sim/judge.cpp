#include "judge.h"

#include <fmt/format.h>

namespace ftvmm::sim {

namespace {

std::int64_t us(Instant at) {
    return std::chrono::duration_cast<std::chrono::microseconds>(at.time_since_epoch()).count();
}

}  // namespace

void Judge::violated(const std::string& what) {
    if (!violation_) violation_ = what;
}

void Judge::primary_at(std::uint64_t life, replay::Landmark at, std::uint64_t digest) {
    if (!places_.empty() && places_.back().life == life && places_.back().at == at) return;
    places_.push_back({life, at, digest});
}

void Judge::made(replay::Seq mark, std::uint64_t hash, Instant now) {
    outputs_.push_back({mark, hash, now});
}

void Judge::released(std::uint64_t hash, Instant now) {
    if (released_ == outputs_.size()) return violated("more was released than was made");
    const Made& output = outputs_[released_++];
    if (output.hash != hash) {
        return violated(fmt::format("output {} was not released in its place", released_));
    }
    if (output.mark >= held_) {
        return violated(fmt::format(
            "output {} was released at {} us: its mark is record {}, and the Secondary holds those "
            "before {}",
            released_, us(now), output.mark.value(), held_.value()));
    }
    if (live_at_) {
        return violated(
            fmt::format("output {} was released at {} us, and the Secondary is live since {} us",
                        released_, us(now), us(*live_at_)));
    }
    if (now >= promised_to_) {
        return violated(
            fmt::format("output {} was released at {} us, and the Secondary promised "
                        "not to go live until {} us",
                        released_, us(now), us(promised_to_)));
    }
    if (!plan_.is_quiet) return;
    constexpr auto kSlack = std::chrono::microseconds(10);
    const auto round_trip =
        plan_.log_pipe.delay + plan_.log_pipe.jitter + plan_.ack_pipe.delay + plan_.ack_pipe.jitter;
    if (now - output.at > round_trip + kSlack) {
        violated(fmt::format("output {} waited from {} us to {} us, longer than a round trip",
                             released_, us(output.at), us(now)));
    }
}

void Judge::secondary_at(std::uint64_t life, replay::Landmark at, std::uint64_t digest) {
    const auto is_before = [&](const Place& place) {
        return place.life < life || (place.life == life && place.at < at);
    };
    while (place_ < places_.size() && is_before(places_[place_]))
        ++place_;
    if (place_ == places_.size()) {
        return violated(
            fmt::format("the Secondary is at {}, where the Primary was not", replay::describe(at)));
    }
    const Place& place = places_[place_];
    if (place.life == life && place.at == at && place.digest != digest) {
        violated(fmt::format("the guests differ at {}", replay::describe(at)));
    }
}

void Judge::replayed(std::uint64_t hash) {
    if (replayed_ == outputs_.size() || outputs_[replayed_].hash != hash) {
        return violated(fmt::format("output {} of the replay is another", replayed_ + 1));
    }
    ++replayed_;
}

void Judge::goes_live(Instant now) {
    if (plan_.is_quiet) violated("the Secondary goes live, and nothing was wrong");
    live_at_ = now;
}

void Judge::takes_over() {
    if (replayed_ < released_) {
        violated(fmt::format("the Secondary takes over behind output {}, and {} were released",
                             replayed_, released_));
    }
}

}  // namespace ftvmm::sim
