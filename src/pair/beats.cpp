#include "pair/beats.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <utility>

#include "base/overloaded.h"
#include "pair/beat_paths.h"

namespace ftvmm::pair {

namespace {

using heartbeat::BeatKey;
using heartbeat::PathChange;
using heartbeat::PathId;
using heartbeat::UdpDriver;
using heartbeat::UdpOptions;
using std::chrono::milliseconds;

constexpr const char* kLinkName = "link";

Result<BeatKey> key_of(const ftlink::TlsChannel& channel, ftlink::LinkRole sender) {
    FTVMM_ASSIGN(const auto secret, channel.derive_secret(sender == ftlink::LinkRole::kPrimary
                                                              ? "EXPORTER-ftvmm-primary-beats"
                                                              : "EXPORTER-ftvmm-secondary-beats"));
    return BeatKey(secret);
}

std::int64_t ms(BootClock::duration time) {
    return std::chrono::duration_cast<milliseconds>(time).count();
}

// Networks on which the two were to beat, and do not.
void tell_missing(const ftlink::Greeted& greeted, const ftlink::Hello& mine,
                  const BeatOptions& options) {
    for (const IpNetwork& network : options.networks) {
        const auto has_it = [&](const ftlink::Hello& hello) {
            return std::ranges::find(hello.paths, network.text(), &ftlink::HelloPath::network) !=
                   hello.paths.end();
        };
        const bool is_here = has_it(mine);
        if (is_here && has_it(greeted.peer)) continue;
        options.log(fmt::format("no beats go over the network {}: {} has no address there",
                                network.text(),
                                is_here ? "host " + greeted.peer.host : std::string("this host")));
    }
}

}  // namespace

const char* name_of(PathStatus::State state) {
    switch (state) {
        case PathStatus::State::kNew:
            return "not heard yet";
        case PathStatus::State::kHeard:
            return "heard";
        case PathStatus::State::kSilent:
            return "silent";
    }
    return "?";
}

Result<UdpOptions> udp_options_of(const ftlink::Greeted& greeted, const ftlink::Hello& mine,
                                  const BeatOptions& options) {
    using ftlink::LinkRole;
    const bool is_primary = mine.role == LinkRole::kPrimary;
    FTVMM_ASSIGN(const auto link, greeted.channel->endpoints());
    FTVMM_ASSIGN(const BeatKey to_peer, key_of(*greeted.channel, mine.role));
    FTVMM_ASSIGN(const BeatKey from_peer, key_of(*greeted.channel, greeted.peer.role));
    // Where nobody is ever dead, paths are told to be silent all the same.
    const auto dead = options.dead_after > BootClock::duration::zero()
                          ? std::chrono::duration_cast<milliseconds>(options.dead_after)
                          : heartbeat::Timeouts{}.dead;
    return UdpOptions{.paths = beat_paths(link, mine.paths, greeted.peer.paths),
                      .other_paths = {kLinkName},
                      .identity = {options.vm, mine.generation},
                      .keys = {to_peer, from_peer},
                      .role = is_primary ? heartbeat::Role::kPrimary : heartbeat::Role::kSecondary,
                      .timeouts = heartbeat::Timeouts::of(dead),
                      .real_time = options.real_time,
                      .on_verdict = {},
                      .on_path = {},
                      .log = {}};
}

Beats::Beats(IoLoop& loop, const UdpOptions& udp, BeatOptions options)
    : loop_(loop),
      options_(std::move(options)),
      link_(static_cast<std::uint32_t>(udp.paths.size())) {
    for (const heartbeat::UdpPath& path : udp.paths)
        names_.push_back(path.name);
    names_.emplace_back(kLinkName);
}

Result<std::unique_ptr<Beats>> Beats::start(IoLoop& loop, UdpOptions udp, BeatOptions options) {
    std::unique_ptr<Beats> beats(new Beats(loop, udp, std::move(options)));
    udp.on_verdict = [&made = *beats](const heartbeat::Verdict& verdict) { made.judge(verdict); };
    udp.on_path = [&made = *beats](const PathChange& change) { made.tell(change); };
    udp.log = [&made = *beats](const std::string& line) { made.say(line); };
    FTVMM_ASSIGN(beats->driver_, UdpDriver::start(std::move(udp)));
    return beats;
}

void Beats::judge(const heartbeat::Verdict& verdict) {
    namespace verdicts = heartbeat::verdict;
    std::visit(Overloaded{[](const verdicts::Suspect&) {},
                          [this](const verdicts::Alive&) { life_ = Life::kHeard; },
                          [this](const verdicts::Dead&) { life_ = Life::kDead; },
                          [this](const verdicts::ProcessGone&) { life_ = Life::kGone; },
                          [this](const verdicts::Stopped& stopped) {
                              if (!stops_.pass(clock_.now())) return;
                              say(
                                  fmt::format("this host did not run for {} ms: the other one "
                                              "gets its full time",
                                              ms(stopped.gap)));
                          }},
               verdict);
}

void Beats::tell(const PathChange& change) {
    const std::string& name = names_.at(change.path.value());
    if (change.is_silent) {
        say(fmt::format("path {} to the other host is silent for {} ms", name,
                        ms(change.silent_for)));
    } else {
        say(fmt::format("path {} to the other host is heard again", name));
    }
}

// Standard error may be a file on storage: not for the thread that beats.
void Beats::say(std::string line) {
    loop_.post([log = options_.log, said = std::move(line)] { log(said); });
}

std::optional<Error> Beats::lost() const {
    const Life life = life_;
    if (life == Life::kHeard || options_.dead_after == BootClock::duration::zero()) {
        return std::nullopt;
    }
    if (life == Life::kGone) return Error("its process is gone, as its host says");
    std::string text = "it is silent";
    const char* joint = ": on path";
    for (const PathStatus& path : paths()) {
        text += path.heard_ago
                    ? fmt::format("{} {} for {} ms", joint, path.name, ms(*path.heard_ago))
                    : fmt::format("{} {} always", joint, path.name);
        joint = ", on path";
    }
    return Error(text);
}

std::vector<PathStatus> Beats::paths() const {
    const auto statistics = driver_->statistics();
    const Instant now = clock_.now();
    std::vector<PathStatus> paths;
    for (const heartbeat::PathStatistics& of : statistics) {
        PathStatus& path = paths.emplace_back();
        path.name = of.name;
        if (of.heard_at) {
            path.state = PathStatus::State::kHeard;
            path.heard_ago = std::max(now - *of.heard_at, BootClock::duration::zero());
        }
        if (of.is_silent) path.state = PathStatus::State::kSilent;
        path.sent = of.sent;
        path.taken = of.taken;
        path.refused = std::accumulate(of.refused.begin(), of.refused.end(), std::uint64_t{0});
    }
    std::rotate(paths.begin(), paths.end() - 1, paths.end());
    return paths;
}

Result<std::unique_ptr<Beats>> start_beats(IoLoop& loop, const ftlink::Greeted& greeted,
                                           const ftlink::Hello& mine, const BeatOptions& options) {
    tell_missing(greeted, mine, options);
    Result<UdpOptions> udp = fail("nobody asked");
    // The connection is that thread's.
    loop.run([&] { udp = udp_options_of(greeted, mine, options); });
    if (!udp) return Failure(udp.error());
    return Beats::start(loop, std::move(*udp), options);
}

}  // namespace ftvmm::pair
