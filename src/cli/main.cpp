// The `ftvmm` command.
#include <fmt/format.h>
#include <malloc.h>

#include <exception>
#include <functional>
#include <memory>

#include <CLI/CLI.hpp>

#include "cli/config_check.h"
#include "cli/create.h"
#include "cli/doctor.h"
#include "cli/lease.h"
#include "cli/log.h"
#include "cli/pki.h"
#include "cli/replay.h"
#include "cli/run.h"
#include "cli/secondary.h"
#include "cli/status.h"

namespace {

// The verb that the command line names, with its options; returns the exit code.
using Verb = std::function<int()>;

void add_doctor(CLI::App& app, Verb& chosen) {
    const auto options = std::make_shared<ftvmm::cli::DoctorOptions>();
    auto* verb = app.add_subcommand("doctor", "Show what this host can be used for");
    verb->add_flag("--json", options->json, "Print the report as JSON");
    verb->add_option("--device", options->device, "The KVM device")->capture_default_str();
    verb->footer(
        "Exit codes: 0 lockstep of a Linux guest is possible here, 1 it is not, "
        "2 KVM cannot be used.");
    verb->callback([options, &chosen] { chosen = [options] { return doctor(*options); }; });
}

void add_create(CLI::App& app, Verb& chosen) {
    const auto options = std::make_shared<ftvmm::cli::CreateOptions>();
    auto* verb = app.add_subcommand("create", "Write the configuration file of a new VM");
    verb->add_option("NAME", options->name, "Its name: a-z, 0-9 and -")->required();
    verb->add_option("--dir", options->dir, "Where NAME.toml is written")->capture_default_str();
    verb->callback([options, &chosen] { chosen = [options] { return create(*options); }; });
}

void add_config(CLI::App& app, Verb& chosen) {
    const auto options = std::make_shared<ftvmm::cli::ConfigCheckOptions>();
    auto* verb = app.add_subcommand("config", "Work with configuration files");
    verb->require_subcommand(1);
    auto* check = verb->add_subcommand("check", "Tell all that is wrong with a vm.toml");
    check->add_option("FILE", options->file, "The file")->required();
    check->footer("Exit codes: 0 the file is fine, 1 it is not, with one line per problem.");
    check->callback([options, &chosen] { chosen = [options] { return config_check(*options); }; });
}

// What `run` and `record` have in common.
void add_run_options(CLI::App& verb, ftvmm::cli::RunOptions& options) {
    verb.add_option("FILE", options.file, "Its vm.toml")->required();
    verb.add_flag("--headless", options.headless, "Keep the console off this terminal");
    verb.add_option("--console-socket", options.console_sockets,
                    "A socket with the console: PATH, or serial=PATH, virtio=PATH");
    verb.add_option("--control", options.control,
                    "The socket that status asks at, in place of /run/ftvmm/NAME.sock");
    verb.add_option("--grace", options.grace_s,
                    "Seconds from the power button to the end of the power")
        ->capture_default_str();
    verb.add_flag("--stats", options.stats, "Print at the end what the guest cost, in exits");
    verb.add_option("--device", options.device, "The KVM device")->capture_default_str();
    options.build = FTVMM_VERSION;
}

// What both hosts of a pair are told of each other.
void add_link_options(CLI::App& verb, ftvmm::cli::PairLink& link, CLI::Option* address) {
    verb.add_option("--pki", link.pki, "The folder of this host's certificate")->needs(address);
    verb.add_option("--peer", link.peers,
                    "A name that the other host may have, as in its certificate; again for more")
        ->needs(address);
}

void add_run(CLI::App& app, Verb& chosen) {
    const auto options = std::make_shared<ftvmm::cli::RunOptions>();
    auto* verb = app.add_subcommand("run", "Run a VM in the foreground");
    add_run_options(*verb, *options);
    verb->add_option("--restore", options->restore, "Go on from a file that --save has written");
    verb->add_option("--save", options->save, "Where SIGUSR2 saves the VM to, which ends the run");
    auto* listen = verb->add_option("--ft-listen", options->link.address,
                                    "Where a Secondary may come: ADDRESS:PORT");
    add_link_options(*verb, options->link, listen);
    verb->add_flag("--audit", options->audit,
                   "Compare all of the guest's memory with the Secondary's at its end")
        ->needs(listen);
    verb->footer(
        "Ctrl-] twice leaves the console and asks the guest to shut down, as SIGTERM does; a "
        "second SIGTERM takes the power. SIGUSR1 prints the statistics.\n"
        "Exit codes: 0 the guest shut down or was saved, 1 it could not be run, 3 its power was "
        "taken, 4 the host could not go on, 5 another host owns the VM.");
    verb->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

void add_secondary(CLI::App& app, Verb& chosen) {
    const auto options = std::make_shared<ftvmm::cli::SecondaryOptions>();
    auto* verb = app.add_subcommand(
        "secondary", "Keep the Secondary of a VM that another host runs, and take the VM over");
    add_run_options(*verb, options->run);
    auto* address =
        verb->add_option("--connect", options->connect,
                         "Where the Primary's --ft-listen is: ADDRESS:PORT; again for more hosts");
    address->required();
    add_link_options(*verb, options->run.link, address);
    verb->add_option("--ft-listen", options->run.link.address,
                     "Where the next Secondary may come once this host runs the VM: ADDRESS:PORT");
    verb->footer(
        "It follows the Primary in lockstep, over and over until SIGTERM or the guest's end. Where "
        "vm.toml has a shared folder, it takes the VM over when the Primary is lost.\n"
        "Exit codes: 0 the guest has ended on the Primary, 1 it can not be a Secondary, 3 it was "
        "stopped; once it has taken the VM over, those of run.");
    verb->callback([options, &chosen] { chosen = [options] { return secondary(*options); }; });
}

void add_record(CLI::App& app, Verb& chosen) {
    const auto options = std::make_shared<ftvmm::cli::RunOptions>();
    auto* verb = app.add_subcommand("record", "Run a VM as run does, and write its log");
    add_run_options(*verb, *options);
    verb->add_option("-o,--log", options->record, "The log, a new file")->required();
    verb->add_flag("--audit", options->audit,
                   "Hash the guest's memory at its end, for replays to compare");
    verb->add_option("--memory", options->memory,
                     "A file for the guest's memory at its end, for replays to compare");
    verb->add_flag("--trace", options->trace,
                   "Log each exit with its registers, for a replay to name the first that differs");
    verb->footer(
        "The log holds all that went into the guest, what was typed too.\n"
        "Exit codes: as for run; 1 too where the log could not be written.");
    verb->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

void add_replay(CLI::App& app, Verb& chosen) {
    const auto options = std::make_shared<ftvmm::cli::ReplayOptions>();
    options->build = FTVMM_VERSION;
    auto* verb =
        app.add_subcommand("replay", "Carry a log out again, and hold the guest against it");
    verb->add_option("LOG", options->log, "What record has written")->required();
    verb->add_option("--config", options->config, "The vm.toml, if it is not where it was");
    verb->add_option("--until", options->until, "Stop at a record (812) or a guest time (12.5s)");
    auto* console = verb->add_flag("--console", options->console, "Print what the guest printed");
    verb->add_option("--console-port", options->console_port, "At this console alone")
        ->check(CLI::IsMember({"serial", "virtio"}))
        ->needs(console);
    verb->add_flag("!--no-audit", options->compare_audits,
                   "Leave out what record --audit has the memory compared with");
    verb->add_option("--report", options->report,
                     "A file for what is told where the guest diverges, besides standard error");
    verb->add_flag("--hash-memory", options->hash_memory, "Print a hash of the memory at the end");
    verb->add_option("--memory", options->memory,
                     "Compare the memory at the end with this file of record --memory");
    verb->add_option("--debug-port", options->debug_port,
                     "Wait for GDB at this port of localhost, or at the socket PATH")
        ->excludes("--console")
        ->excludes("--hash-memory")
        ->excludes("--memory");
    verb->add_option("--device", options->device, "The KVM device")->capture_default_str();
    verb->footer(
        "It needs the kernel and initrd, and no disk: what was read is in the log.\n"
        "Exit codes: 0 the guest agrees with the log, 1 it could not be replayed, 3 it "
        "agrees and the log ends early, 5 it diverged.");
    verb->callback([options, &chosen] { chosen = [options] { return replay_log(*options); }; });
}

void add_log(CLI::App& app, Verb& chosen) {
    const auto options = std::make_shared<ftvmm::cli::LogOptions>();
    auto* verb = app.add_subcommand("log", "Look into the log of a recorded VM");
    verb->require_subcommand(1);
    const auto add = [&](const char* name, const char* what,
                         int (*act)(const ftvmm::cli::LogOptions&)) {
        auto* part = verb->add_subcommand(name, what);
        part->add_option("LOG", options->log, "The file")->required();
        part->add_flag("--json", options->json, "Print it as JSON");
        part->footer(
            "Exit codes: 0 the log was read to its end, 1 it is damaged and was read up to there, "
            "2 it cannot be read.");
        part->callback(
            [options, act, &chosen] { chosen = [options, act] { return act(*options); }; });
        return part;
    };
    add("stat", "Tell what it holds, by kind", ftvmm::cli::log_stat);
    add("verify", "Read all of it and name what is damaged", ftvmm::cli::log_verify);
    auto* show = add("show", "Print its records, a line each", ftvmm::cli::log_show);
    show->add_option("--from", options->from, "The number of the first record");
    show->add_option("--count", options->count, "How many records");
}

void add_lease(CLI::App& app, Verb& chosen) {
    const auto options = std::make_shared<ftvmm::cli::LeaseOptions>();
    auto* verb = app.add_subcommand("lease", "Tell which host may run a VM of several hosts");
    verb->require_subcommand(1);
    const auto add = [&](const char* name, const char* what,
                         int (*act)(const ftvmm::cli::LeaseOptions&)) {
        auto* part = verb->add_subcommand(name, what);
        part->add_option("FILE", options->file, "Its vm.toml")->required();
        part->add_flag("--json", options->json, "Print it as JSON");
        part->footer(
            "Exit codes: 0 it is told, 1 a file of the shared folder is damaged, 2 it can not be "
            "told.");
        part->callback(
            [options, act, &chosen] { chosen = [options, act] { return act(*options); }; });
    };
    add("show", "Who owns it, and who bids to be next", ftvmm::cli::lease_show);
    add("history", "Who has owned it", ftvmm::cli::lease_history);
}

void add_status(CLI::App& app, Verb& chosen) {
    const auto options = std::make_shared<ftvmm::cli::StatusOptions>();
    auto* verb = app.add_subcommand("status", "Tell what the VMs of this host are doing");
    verb->add_option("NAME", options->vm,
                     "One VM, in all details; or the PATH that its run was given as --control");
    verb->add_flag("--json", options->json, "Print it as JSON");
    verb->add_flag("--watch", options->watch, "Again each second, until Ctrl-C");
    verb->footer(
        "Exit codes: 0 it is told, 1 there is no such VM here or it does not answer, 2 NAME is "
        "neither a name nor a path.");
    verb->callback([options, &chosen] { chosen = [options] { return status(*options); }; });
}

void add_pki(CLI::App& app, Verb& chosen) {
    const auto options = std::make_shared<ftvmm::cli::PkiOptions>();
    auto* verb =
        app.add_subcommand("pki", "Certificates, by which the cluster's hosts know each other");
    verb->require_subcommand(1);
    const auto add = [&](const char* name, const char* what,
                         int (*act)(const ftvmm::cli::PkiOptions&)) {
        auto* part = verb->add_subcommand(name, what);
        part->callback(
            [options, act, &chosen] { chosen = [options, act] { return act(*options); }; });
        return part;
    };
    const auto add_making = [options](CLI::App* part) {
        part->add_option("DIR", options->path, "The authority's folder")->required();
        part->add_option("--days", options->days, "How long it is valid")
            ->check(CLI::Range(1, 36500));
        part->add_flag("--force", options->force, "Replace what is there");
    };
    auto* init = add("init", "Make the cluster's own authority", ftvmm::cli::pki_init);
    add_making(init);
    init->add_option("--name", options->cluster, "The cluster's name")->capture_default_str();
    auto* issue = add("issue", "Make the certificate of a host", ftvmm::cli::pki_issue);
    add_making(issue);
    issue->add_option("--host", options->host, "The host's DNS name")->required();
    auto* show = add("show", "Tell what certificates say", ftvmm::cli::pki_show);
    show->add_option("PATH", options->path, "A certificate's file, or a folder of pki's")
        ->required();
}

// Buffers of the size of a disk's request come and go thousands of times a second. Given back to
// the kernel each time, each comes back as hundreds of page faults, which cost more than the disk.
void keep_freed_memory() {
    constexpr int kLargest = 4 << 20;
    (void)::mallopt(M_MMAP_THRESHOLD, kLargest);
    (void)::mallopt(M_TRIM_THRESHOLD, kLargest);
    // One heap: what one thread frees another one takes, and it is kept once.
    (void)::mallopt(M_ARENA_MAX, 1);
}

int run_command(int argc, char** argv) {
    CLI::App app("ftvmm keeps a virtual machine running when the host under it dies.", "ftvmm");
    app.set_version_flag("--version", FTVMM_VERSION);
    app.require_subcommand(1);

    Verb chosen;
    add_doctor(app, chosen);
    add_create(app, chosen);
    add_config(app, chosen);
    add_run(app, chosen);
    add_record(app, chosen);
    add_secondary(app, chosen);
    add_replay(app, chosen);
    add_log(app, chosen);
    add_lease(app, chosen);
    add_pki(app, chosen);
    add_status(app, chosen);
    CLI11_PARSE(app, argc, argv);
    return chosen();
}

}  // namespace

int main(int argc, char** argv) {
    keep_freed_memory();
    try {
        return run_command(argc, argv);
    } catch (const std::exception& error) {
        // Only the command line's own parsing and a lack of memory throw.
        fmt::print(stderr, "ftvmm: {}\n", error.what());
        return 2;
    }
}
