// The `ftvmm` command.
#include <fmt/format.h>

#include <exception>
#include <functional>
#include <memory>

#include <CLI/CLI.hpp>

#include "cli/config_check.h"
#include "cli/create.h"
#include "cli/doctor.h"

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

int run(int argc, char** argv) {
    CLI::App app("ftvmm keeps a virtual machine running when the host under it dies.", "ftvmm");
    app.set_version_flag("--version", FTVMM_VERSION);
    app.require_subcommand(1);

    Verb chosen;
    add_doctor(app, chosen);
    add_create(app, chosen);
    add_config(app, chosen);
    CLI11_PARSE(app, argc, argv);
    return chosen();
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return run(argc, argv);
    } catch (const std::exception& error) {
        // Only the command line's own parsing and a lack of memory throw.
        fmt::print(stderr, "ftvmm: {}\n", error.what());
        return 2;
    }
}
