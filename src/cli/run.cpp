#include "cli/run.h"

#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "base/overloaded.h"
#include "base/signal_thread.h"
#include "cli/run_statistics.h"
#include "config/read_config.h"
#include "node/host_parts.h"
#include "node/log_identity.h"
#include "node/log_thread.h"
#include "node/plain_run.h"
#include "node/recording.h"
#include "node/suspend.h"
#include "replay/content_hash.h"
#include "vmm/host/console_log.h"
#include "vmm/host/console_socket.h"
#include "vmm/host/terminal_console.h"
#include "vmm/kvm/system.h"
#include "vmm/machine/save_restore.h"

namespace ftvmm::cli {

namespace {

using replay::ConsolePort;

void say(const std::string& line) {
    node::log_to_stderr(line);
}

// The console that the user means without saying which.
ConsolePort own_port(const config::VmConfig& config) {
    return config.console.kind == config::ConsoleKind::kVirtio ? ConsolePort::kVirtio
                                                               : ConsolePort::kSerial;
}

Result<node::NodeConsole> listen_at(std::string_view where, ConsolePort port) {
    constexpr std::string_view kSerial = "serial=";
    constexpr std::string_view kVirtio = "virtio=";
    if (where.starts_with(kSerial)) {
        port = ConsolePort::kSerial;
        where.remove_prefix(kSerial.size());
    } else if (where.starts_with(kVirtio)) {
        port = ConsolePort::kVirtio;
        where.remove_prefix(kVirtio.size());
    }
    FTVMM_ASSIGN(auto socket, host::ConsoleSocket::listen(std::string(where)));
    return node::NodeConsole{port, std::move(socket)};
}

Result<std::vector<node::NodeConsole>> open_consoles(const RunOptions& options,
                                                     const config::VmConfig& config) {
    std::vector<node::NodeConsole> consoles;
    const ConsolePort port = own_port(config);
    if (config.console.log) {
        FTVMM_ASSIGN(auto log, host::ConsoleLog::open(*config.console.log));
        consoles.push_back({port, std::move(log)});
    }
    for (const auto& where : options.console_sockets) {
        FTVMM_ASSIGN(auto console, listen_at(where, port));
        consoles.push_back(std::move(console));
    }
    if (!options.headless) {
        FTVMM_ASSIGN(auto terminal, host::TerminalConsole::attach(STDIN_FILENO, STDOUT_FILENO));
        consoles.push_back({port, std::move(terminal)});
    }
    return consoles;
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

// The guest's log, where there is one.
struct Log {
    std::unique_ptr<node::LogThread> thread;
    std::optional<node::Recording> recording;
    std::string kernel_hash;
    std::string initrd_hash;

    // A log that can not go on ends the guest: it never runs on unrecorded.
    Result<void> create(const std::string& path, const replay::LogHeader& header,
                        node::VcpuControl& control) {
        FTVMM_ASSIGN(auto writer, replay::LogWriter::create(path, header));
        thread =
            std::make_unique<node::LogThread>(std::move(writer), [&control](const Error& error) {
                say(error.with_context("the log can not go on, so the guest's power ends").line());
                control.stop();
            });
        recording.emplace(*thread, [](replay::GuestMachine& guest) {
            return dynamic_cast<machine::KvmMachine&>(guest).settle_dirty_pages();
        });
        kernel_hash = header.kernel_hash;
        initrd_hash = header.initrd_hash;
        return {};
    }
    // All lives of one log begin with the same files.
    [[nodiscard]] Result<void> check(const node::BootFiles& files) const {
        if (!recording) return {};
        const bool is_same =
            replay::content_hash(files.kernel) == kernel_hash &&
            (files.initrd.empty() ? initrd_hash.empty()
                                  : replay::content_hash(files.initrd) == initrd_hash);
        if (is_same) return {};
        return fail(
            "the kernel or the initrd has changed while the VM was recorded: its next life "
            "would be in no log",
            "record it anew");
    }
    Result<void> finish() {
        if (!thread) return {};
        FTVMM_TRY(thread->finish());
        say(fmt::format("the log is whole: {} bytes", thread->bytes()));
        return {};
    }
};

Result<int> run_config(const RunOptions& options, const config::VmConfig& config) {
    FTVMM_ASSIGN(const auto system, kvm::System::open(options.device));
    FTVMM_ASSIGN(auto parts, node::open_host_parts(config));
    const auto machine_config = node::machine_config(config, node::disk_facts(parts));
    FTVMM_ASSIGN(auto consoles, open_consoles(options, config));

    machine::ExitCounts exits;
    node::VcpuControl control;
    Log log;
    if (!options.record.empty()) {
        FTVMM_ASSIGN(const auto files, node::read_boot_files(config));
        FTVMM_ASSIGN(const auto header, node::log_header_of(system, config, machine_config, files,
                                                            options.file, options.build));
        FTVMM_TRY(log.create(options.record, header, control));
        if (options.audit) log.recording->audit_ends();
        if (options.trace) log.recording->trace_exits();
    }
    const auto print_statistics = [&] {
        // Counted on the vCPU thread, so read there. Where the VM has just ended, the end prints.
        (void)control.call([&](replay::GuestMachine& guest) {
            const auto& machine = dynamic_cast<machine::KvmMachine&>(guest);
            fmt::print(stderr, "{}\n{}", machine.describe(), describe(exits, control.statistics()));
        });
    };
    bool saved = false;
    const std::string identity = config.uuid.text();
    const auto save = [&] {
        if (options.save.empty()) {
            say("SIGUSR2 is ignored: --save says where to save the VM to");
            return;
        }
        (void)control.call([&](replay::GuestMachine& guest) {
            auto& machine = dynamic_cast<machine::KvmMachine&>(guest);
            const auto done = node::suspend(machine, options.save, identity);
            if (!done) {
                say(done.error().with_context("the VM was not saved, and runs on").line());
                return;
            }
            say(fmt::format("saved to {} at exit {}, digest {:016x}", options.save,
                            machine.landmark().exits, machine.digest()));
            saved = true;
            control.stop();
        });
    };
    const SignalThread requests(
        {SIGUSR1, SIGUSR2}, [&](int signal) { signal == SIGUSR1 ? print_statistics() : save(); });
    bool restores = !options.restore.empty();
    const node::PowerOn power_on = [&]() -> Result<node::NewGuest> {
        // The guest's own resets lead to a new machine, not back to the file.
        if (std::exchange(restores, false)) {
            FTVMM_ASSIGN(auto machine, machine::restore_machine(system, machine_config,
                                                                options.restore, identity));
            say(fmt::format("restored from {} at exit {}, digest {:016x}", options.restore,
                            machine->landmark().exits, machine->digest()));
            machine->count_into(exits);
            const GuestTime start = machine->now();
            return node::NewGuest{std::move(machine), start, {}};
        }
        // For this moment alone: they are large.
        FTVMM_ASSIGN(const auto files, node::read_boot_files(config));
        FTVMM_TRY(log.check(files));
        auto seed = node::make_rng_seed();
        FTVMM_ASSIGN(auto machine, node::power_on(system, config, machine_config, files, seed));
        if (log.recording) {
            machine->interrupt_at_landmarks_only();
            FTVMM_TRY(machine->track_dirty_pages());
        }
        if (options.stats) say("the kernel's TSC is taken out: " + machine->tsc_patch()->summary());
        machine->count_into(exits);
        return node::NewGuest{std::move(machine), std::nullopt, std::move(seed)};
    };
    node::PlainRun plain;
    plain.disks = std::move(parts.disks);
    plain.taps = std::move(parts.taps);
    plain.consoles = std::move(consoles);
    plain.grace = std::chrono::seconds(options.grace_s);
    plain.log = say;
    plain.recording = log.recording ? &*log.recording : nullptr;
    FTVMM_ASSIGN(const auto ended, node::run_plainly(std::move(plain), power_on, control));
    if (options.stats) fmt::print(stderr, "{}", describe(exits, ended.statistics));
    FTVMM_TRY(log.finish());
    return saved ? kRunPoweredOff : report_end(ended.end);
}

}  // namespace

int run(const RunOptions& options) {
    const auto config = config::load_config(options.file);
    if (!config) {
        for (const auto& problem : config.error())
            fmt::print(stderr, "{}\n", problem.text());
        return kRunFailed;
    }
    const auto code = run_config(options, *config);
    if (code) return *code;
    say(code.error().line());
    return kRunFailed;
}

}  // namespace ftvmm::cli
