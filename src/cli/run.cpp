#include "cli/run.h"

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <memory>
#include <optional>
#include <utility>

#include "base/overloaded.h"
#include "base/signal_thread.h"
#include "cli/memory_file.h"
#include "cli/ownership.h"
#include "cli/run_consoles.h"
#include "cli/run_log.h"
#include "cli/run_statistics.h"
#include "config/read_config.h"
#include "node/disk_merge.h"
#include "node/host_parts.h"
#include "node/log_identity.h"
#include "node/plain_run.h"
#include "node/recording.h"
#include "node/shared_parts.h"
#include "node/suspend.h"
#include "pair/announcement.h"
#include "pair/primary.h"
#include "vmm/kvm/system.h"
#include "vmm/machine/save_restore.h"

namespace ftvmm::cli {

namespace {

void say(const std::string& line) {
    node::log_to_stderr(line);
}

int report_end(const node::End& end) {
    return std::visit(Overloaded{
                          [](const node::end::PoweredOff&) {
                              say("the guest has shut down");
                              return kRunPoweredOff;
                          },
                          [](const node::end::Stopped&) {
                              say("the guest's power was taken before it had shut down");
                              return kRunStopped;
                          },
                          [](const node::end::Crashed& crashed) {
                              say(crashed.why + ": the VM is lost, its disks are as it left them");
                              return kRunCrashed;
                          },
                          [](const node::end::Reset&) { return kRunFailed; },
                      },
                      end);
}

// One run of a VM, from the start of its host's parts to its end.
class Run {
  public:
    Run(const RunOptions& options, const config::VmConfig& config, StatusBoard& board)
        : options_(options), config_(config), board_(board), identity_(config.uuid.text()) {}
    Run(const Run&) = delete;
    Run& operator=(const Run&) = delete;
    ~Run() { board_.show({}); }

    // The VM starts, or goes on from a file.
    Result<int> start() {
        FTVMM_ASSIGN(const auto system, kvm::System::open(options_.device));
        FTVMM_TRY(own());
        auto parts = node::open_host_parts(config_);
        Result<void> checked;
        if (parts && config_.ft) checked = node::check_shared(config_, *parts);
        if (parts && checked) return run(system, std::move(*parts));
        if (ownership_) end_ownership();
        return Failure(parts ? checked.error() : parts.error());
    }

    // It goes on where another host was lost.
    Result<int> go_on(Succession succession) {
        ownership_ = std::move(succession.ownership);
        taken_.emplace(std::move(succession.taken));
        link_ = std::move(succession.link);
        show_start();
        FTVMM_ASSIGN(auto parts, await_parts(succession.taps.get()));
        taken_->times.opened = SystemClock().now();
        return run(succession.system, std::move(parts));
    }

  private:
    // The next start need not wait for the lease.
    void end_ownership() {
        if (const auto ended = ownership_->end(); !ended) say(ended.error().line());
    }

    void show_start() {
        board_.show([this](VmStatus& status) { add_lease(status, *ownership_); });
    }

    Result<node::HostParts> await_parts(node::TapsAhead* taps) const {
        std::atomic<bool> stops{false};
        const SignalThread signals({SIGTERM, SIGINT}, [&](int) { stops = true; });
        return node::await_shared_parts(
            config_, {ownership_->generation().value(), taken_->host_answers}, taps, stops, say);
    }

    // What the storage says of who may run it.
    Result<void> own() {
        if (!config_.ft) return {};
        FTVMM_ASSIGN(ownership_, open_ownership(config_));
        show_start();
        std::atomic<bool> stops{false};
        const SignalThread signals({SIGTERM, SIGINT}, [&](int) { stops = true; });
        FTVMM_ASSIGN(const auto outcome, ownership_->cold_start(stops, [](const std::string& what) {
            say("the VM waits to be started: " + what);
        }));
        if (const auto* lost = std::get_if<lock::outcome::Lost>(&outcome)) {
            return fail(fmt::format("host {} starts the VM, in generation {}", lost->owner.host,
                                    lost->owner.generation.value()));
        }
        say(fmt::format("this host owns the VM, in generation {}",
                        ownership_->generation().value()));
        return {};
    }

    Result<int> run(const kvm::System& system, node::HostParts parts) {
        machine_config_ = node::machine_config(config_, node::disk_facts(parts));
        auto consoles = open_consoles(options_, config_);
        if (!consoles && !taken_) return Failure(consoles.error());
        if (!consoles) {
            // Nobody else has the VM's state: it goes on without what it can do without.
            say(consoles.error().with_context("the VM goes on without consoles").line());
            consoles.emplace();
        }
        FTVMM_TRY(open_log(system));
        FTVMM_TRY(open_pair(system));
        chains_ = std::move(parts.chains);
        node::DiskMerge::Options merge;
        merge.may_act = [this] { return !primary_ || primary_->right().holds(); };
        merge.log = say;
        if (taken_ && config_.ft->fence) {
            merge.agent.emplace();
            merge.agent->command = *config_.ft->fence;
            merge.agent->host = taken_->lost_host;
            merge.agent->vm = config_.name;
        }
        merge_.emplace(chains_, std::move(merge));
        board_.show([this](VmStatus& status) {
            status.phase = VmStatus::Phase::kRuns;
            status.disks = merge_->status();
            if (ownership_) add_lease(status, *ownership_);
            if (primary_) status.primary = primary_->status();
        });
        const SignalThread requests({SIGUSR1, SIGUSR2}, [this](int signal) {
            signal == SIGUSR1 ? print_statistics() : save();
        });
        node::PlainRun plain;
        plain.disks = std::move(parts.disks);
        plain.taps = std::move(parts.taps);
        plain.consoles = std::move(*consoles);
        plain.grace = std::chrono::seconds(options_.grace_s);
        plain.log = say;
        plain.recording = log_.recording ? &*log_.recording : nullptr;
        if (primary_) {
            plain.right = &primary_->right();
            plain.begins = [this](node::VcpuThread& vcpu) {
                primary_->attach(vcpu);
                if (taken_) say(describe(taken_->times, SystemClock().now()));
            };
            plain.machine_ends = [this](replay::GuestMachine& machine) {
                primary_->machine_ends(machine);
            };
        }
        if (!options_.memory.empty()) {
            plain.machine_ends = [this](replay::GuestMachine& machine) { keep_memory(machine); };
        }
        const auto run = node::run_plainly(
            std::move(plain), [&] { return power_on(system); }, control_);
        merge_->stop();
        // What this host can not go on with, the other one may.
        const bool has_crashed = !run || std::holds_alternative<node::end::Crashed>(run->end);
        if (primary_) primary_->finish(has_crashed);
        FTVMM_ASSIGN(const auto ended, run);
        if (options_.stats) {
            fmt::print(stderr, "{}{}", is_recorded() ? describe(costs_) : std::string(),
                       describe(exits_, ended.statistics));
        }
        FTVMM_TRY(log_.finish());
        if (primary_ && primary_->superseded_by()) return kRunSuperseded;
        board_.show([](VmStatus& status) { status.phase = VmStatus::Phase::kHasEnded; });
        if (ownership_ && !has_crashed) end_ownership();
        return saved_ ? kRunPoweredOff : report_end(ended.end);
    }

    Result<void> open_log(const kvm::System& system) {
        if (options_.record.empty()) return {};
        FTVMM_ASSIGN(const auto files, node::read_boot_files(config_));
        FTVMM_ASSIGN(const auto header, node::log_header_of(system, config_, machine_config_, files,
                                                            options_.file, options_.build));
        FTVMM_TRY(log_.create(options_.record, header, control_));
        if (options_.audit) log_.recording->audit_ends();
        if (options_.trace) log_.recording->trace_exits();
        return {};
    }

    Result<void> open_pair(const kvm::System& system) {
        if (options_.link.address.empty() && !ownership_) return {};
        pair::PrimaryOptions pair_options;
        if (!link_ && !options_.link.address.empty()) {
            FTVMM_ASSIGN(link_, link_options_of(options_.link, ftlink::LinkRole::kPrimary, config_,
                                                machine_config_, system, options_.build));
        }
        pair_options.link = std::move(link_);
        if (ownership_) {
            pair_options.ownership = ownership_.get();
            pair_options.beats.dead_after = config_.ft->dead_after;
            pair_options.beats.networks = config_.ft->paths;
            pair_options.leases = ftlink::ReleaseLeases::of(config_.ft->dead_after);
        }
        if (taken_) {
            for (std::uint32_t i = 0; i < config_.nics.size(); ++i) {
                pair_options.announcements.push_back(
                    pair::announcement(i, config_.nics[i].mac.bytes));
            }
        }
        pair_options.beats.vm = config_.uuid.bytes;
        pair_options.beats.log = say;
        pair_options.identity = identity_;
        pair_options.audits_ends = options_.audit;
        pair_options.log = say;
        primary_.emplace(std::move(pair_options), control_);
        return {};
    }

    Result<node::NewGuest> power_on(const kvm::System& system) {
        if (taken_ && taken_->machine) {
            pair::TakenOver taken = std::move(*taken_);
            taken_.reset();
            taken.machine->count_into(exits_);
            taken.machine->cost_into(costs_);
            return node::NewGuest{
                std::move(taken.machine), taken.start, {}, std::move(taken.put_again)};
        }
        // The guest's own resets lead to a new machine, not back to the file.
        if (std::exchange(restores_, false) && !options_.restore.empty()) {
            FTVMM_ASSIGN(auto machine, machine::restore_machine(system, machine_config_,
                                                                options_.restore, identity_));
            say(fmt::format("restored from {} at exit {}, digest {:016x}", options_.restore,
                            machine->landmark().exits, machine->digest()));
            machine->count_into(exits_);
            const GuestTime start = machine->now();
            machine->let_disks_reach_memory(!is_recorded());
            return node::NewGuest{std::move(machine), start, {}, {}};
        }
        restores_ = false;
        // For this moment alone: they are large.
        FTVMM_ASSIGN(const auto files, node::read_boot_files(config_));
        FTVMM_TRY(log_.check(files));
        auto seed = node::make_rng_seed();
        FTVMM_ASSIGN(auto machine, node::power_on(system, config_, machine_config_, files, seed));
        machine->cost_into(costs_);
        if (log_.recording || (primary_ && primary_->leads())) {
            machine->interrupt_at_landmarks_only();
            if (!options_.memory.empty()) FTVMM_TRY(machine->mark_tsc(machine::kRecordedTscMark));
            FTVMM_TRY(machine->track_dirty_pages());
        }
        machine->let_disks_reach_memory(!is_recorded());
        if (options_.stats) {
            say("the kernel's TSC is taken out: " + machine->tsc_patch()->summary());
        }
        machine->count_into(exits_);
        return node::NewGuest{std::move(machine), std::nullopt, std::move(seed), {}};
    }

    void keep_memory(replay::GuestMachine& machine) const {
        const auto bytes = dynamic_cast<machine::KvmMachine&>(machine).memory().bytes();
        if (const auto kept = write_memory_file(options_.memory, bytes); !kept) {
            say(kept.error().with_context("the memory was not kept").line());
        }
    }

    [[nodiscard]] bool is_recorded() const { return log_.recording || primary_; }

    void print_statistics() {
        // Counted on the vCPU thread, so read there. Where the VM has just ended, the end prints.
        (void)control_.call([this](replay::GuestMachine& guest) {
            const auto& machine = dynamic_cast<machine::KvmMachine&>(guest);
            fmt::print(stderr, "{}\n{}{}", machine.describe(),
                       is_recorded() ? describe(costs_) : std::string(),
                       describe(exits_, control_.statistics()));
            if (primary_) fmt::print(stderr, "{}", describe(primary_->status()));
        });
    }

    void save() {
        if (options_.save.empty()) {
            say("SIGUSR2 is ignored: --save says where to save the VM to");
            return;
        }
        const auto settled = node::settle_disks(control_);
        (void)control_.call([&](replay::GuestMachine& guest) {
            auto& machine = dynamic_cast<machine::KvmMachine&>(guest);
            const auto done = settled ? node::suspend(machine, options_.save, identity_) : settled;
            if (!done) {
                say(done.error().with_context("the VM was not saved, and runs on").line());
                machine.let_disks_reach_memory(!is_recorded());
                return;
            }
            say(fmt::format("saved to {} at exit {}, digest {:016x}", options_.save,
                            machine.landmark().exits, machine.digest()));
            saved_ = true;
            control_.stop();
        });
    }

    const RunOptions& options_;
    const config::VmConfig& config_;
    StatusBoard& board_;
    std::string identity_;
    machine::MachineConfig machine_config_;
    machine::ExitCounts exits_;
    machine::CheckpointCosts costs_;
    node::VcpuControl control_;
    RunLog log_;
    std::unique_ptr<lock::Ownership> ownership_;
    std::optional<pair::TakenOver> taken_;     // Until it runs.
    std::optional<ftlink::LinkOptions> link_;  // For a Secondary; until a Primary has it.
    std::optional<pair::Primary> primary_;
    std::vector<std::unique_ptr<overlay::DiskChain>> chains_;
    std::optional<node::DiskMerge> merge_;  // Of the chains; asks the Primary's right.
    bool restores_ = true;                  // The first life may come from a file.
    bool saved_ = false;
};

int report(const Result<int>& code) {
    if (code) return *code;
    say(code.error().line());
    return kRunFailed;
}

}  // namespace

int run(const RunOptions& options) {
    const auto config = config::load_config(options.file);
    if (!config) {
        for (const auto& problem : config.error())
            fmt::print(stderr, "{}\n", problem.text());
        return kRunFailed;
    }
    const auto board = StatusBoard::open(options.control, *config);
    if (!board) return report(Failure(board.error()));
    return report(Run(options, *config, **board).start());
}

int go_on(const RunOptions& options, const config::VmConfig& config, Succession succession) {
    StatusBoard& board = succession.board;
    return report(Run(options, config, board).go_on(std::move(succession)));
}

}  // namespace ftvmm::cli
