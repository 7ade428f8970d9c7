#include "cli/secondary.h"

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "base/signal_thread.h"
#include "cli/ownership.h"
#include "config/read_config.h"
#include "node/host_parts.h"
#include "node/log.h"
#include "node/taps_ahead.h"
#include "pair/secondary.h"

namespace ftvmm::cli {

namespace {

// Between two tries of a Primary that is not there.
constexpr std::chrono::seconds kRetryEvery{1};

void say(const std::string& line) {
    node::log_to_stderr(line);
}

void report(const replay::Divergence& divergence) {
    say("the guest has diverged from the Primary's: " + replay::describe(divergence) +
        "; its memory is fetched anew");
}

// Why there is nobody to follow; said once, as long as it stays the same.
class Trouble {
  public:
    void say_once(const Error& error) {
        const std::string line = error.line();
        if (line == last_) return;
        say("no Primary to follow yet: " + line);
        last_ = line;
    }
    void ends() { last_.clear(); }

  private:
    std::string last_;
};

// What a host that follows comes to in the end.
struct FollowEnd {
    int code = 0;
    std::optional<pair::TakenOver> taken;
    std::optional<ftlink::LinkOptions> link;  // For the next Secondary, if one is to come.
    std::unique_ptr<node::TapsAhead> taps;
};

class Follower {
  public:
    Follower(const SecondaryOptions& options, const config::VmConfig& config,
             const kvm::System& system, lock::Ownership* ownership,
             pair::SecondaryObserver& observer)
        : options_(options), config_(config), system_(system) {
        secondary_.ownership = ownership;
        secondary_.observer = &observer;
        if (config.ft) {
            secondary_.beats.dead_after = config.ft->dead_after;
            secondary_.beats.networks = config.ft->paths;
        }
        secondary_.beats.vm = config.uuid.bytes;
        secondary_.beats.log = say;
        secondary_.identity = config.uuid.text();
        secondary_.log = say;
        secondary_.makes_ready = [this] { taps_ = std::make_unique<node::TapsAhead>(config_); };
        secondary_.make = [this](std::span<const std::byte> seed) { return make(seed); };
    }

    Result<FollowEnd> follow() {
        FTVMM_ASSIGN(const auto disks, node::disk_facts(config_));
        secondary_.machine = node::machine_config(config_, disks);
        std::vector<ftlink::LinkOptions> links;
        for (const std::string& address : options_.connect) {
            PairLink link = options_.run.link;
            link.address = address;
            FTVMM_ASSIGN(auto made,
                         link_options_of(link, ftlink::LinkRole::kSecondary, config_,
                                         secondary_.machine, system_, options_.run.build));
            links.push_back(std::move(made));
        }
        std::optional<ftlink::LinkOptions> next_link;
        if (!options_.run.link.address.empty()) {
            FTVMM_ASSIGN(next_link,
                         link_options_of(options_.run.link, ftlink::LinkRole::kPrimary, config_,
                                         secondary_.machine, system_, options_.run.build));
        }
        const SignalThread signals({SIGTERM, SIGINT}, [this](int) { stops_ = true; });
        for (std::size_t i = 0; !stops_; ++i) {
            secondary_.link = links[i % links.size()];
            auto followed = pair::follow_primary(secondary_, system_, stops_);
            if (!followed || !std::holds_alternative<pair::TakenOver>(*followed)) taps_.reset();
            if (!followed) {
                if (!stops_) trouble_.say_once(followed.error());
                rest(i % links.size() + 1 == links.size());
                continue;
            }
            trouble_.ends();
            if (std::holds_alternative<pair::followed::Ended>(*followed)) {
                say("the guest's life has ended on the Primary, and here");
                return FollowEnd{kSecondaryEnded, {}, {}, {}};
            }
            if (const auto* diverged = std::get_if<pair::followed::Diverged>(&*followed)) {
                report(diverged->divergence);
            }
            if (auto* taken = std::get_if<pair::TakenOver>(&*followed)) {
                return FollowEnd{0, std::move(*taken), std::move(next_link), std::move(taps_)};
            }
        }
        say("the Secondary is stopped");
        return FollowEnd{kSecondaryStopped, {}, {}, {}};
    }

  private:
    Result<std::unique_ptr<replay::GuestMachine>> make(std::span<const std::byte> seed) {
        FTVMM_ASSIGN(const auto files, node::read_boot_files(config_));
        FTVMM_ASSIGN(auto machine,
                     node::power_on(system_, config_, secondary_.machine, files, seed));
        machine->interrupt_at_landmarks_only();
        return machine;
    }

    // Between two rounds of tries.
    void rest(bool is_round) const {
        constexpr int kPieces = 10;
        for (int i = 0; is_round && i < kPieces && !stops_; ++i)
            std::this_thread::sleep_for(kRetryEvery / kPieces);
    }

    const SecondaryOptions& options_;
    const config::VmConfig& config_;
    const kvm::System& system_;
    pair::SecondaryOptions secondary_;
    std::atomic<bool> stops_{false};
    std::unique_ptr<node::TapsAhead> taps_;  // From when this host bids for the VM.
    Trouble trouble_;
};

Result<int> follow_config(const SecondaryOptions& options, const config::VmConfig& config) {
    FTVMM_ASSIGN(const auto system, kvm::System::open(options.run.device));
    std::unique_ptr<lock::Ownership> ownership;
    if (config.ft) {
        FTVMM_ASSIGN(ownership, open_ownership(config));
    }
    pair::SecondaryObserver observer;
    FTVMM_ASSIGN(const auto board, StatusBoard::open(options.run.control, config));
    board->show([&observer, owned = ownership.get()](VmStatus& status) {
        status.secondary = observer.status();
        if (owned != nullptr) add_lease(status, *owned);
    });
    FTVMM_ASSIGN(auto end, Follower(options, config, system, ownership.get(), observer).follow());
    if (!end.taken) return end.code;
    return go_on(options.run, config,
                 {system, *board, std::move(ownership), std::move(*end.taken), std::move(end.link),
                  std::move(end.taps)});
}

}  // namespace

int secondary(const SecondaryOptions& options) {
    const auto config = config::load_config(options.run.file);
    if (!config) {
        for (const auto& problem : config.error())
            fmt::print(stderr, "{}\n", problem.text());
        return kSecondaryFailed;
    }
    const auto code = follow_config(options, *config);
    if (code) return *code;
    say(code.error().line());
    return kSecondaryFailed;
}

}  // namespace ftvmm::cli
