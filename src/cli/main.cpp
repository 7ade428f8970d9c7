// The `ftvmm` command.
#include <fmt/format.h>

#include <exception>

#include <CLI/CLI.hpp>

#include "cli/doctor.h"

namespace {

int run(int argc, char** argv) {
    CLI::App app("ftvmm keeps a virtual machine running when the host under it dies.", "ftvmm");
    app.set_version_flag("--version", FTVMM_VERSION);
    app.require_subcommand(1);

    ftvmm::cli::DoctorOptions doctor_options;
    auto* doctor = app.add_subcommand("doctor", "Show what this host can be used for");
    doctor->add_flag("--json", doctor_options.json, "Print the report as JSON");
    doctor->add_option("--device", doctor_options.device, "The KVM device")->capture_default_str();
    doctor->footer(
        "Exit codes: 0 lockstep of a Linux guest is possible here, 1 it is not, "
        "2 KVM cannot be used.");

    CLI11_PARSE(app, argc, argv);
    return ftvmm::cli::doctor(doctor_options);
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
