// Writes corpus/state: what the machines that corpus/platform begins with have become at their
// ends, as messages and as one file.
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/check.h"
#include "fuzz_input.h"
#include "platform_machine.h"
#include "state_input.h"
#include "vmm/machine/machine_state.h"
#include "vmm/machine/state_file.h"

namespace {

using namespace ftvmm::fuzz;
using ftvmm::machine::EncodedState;

std::string read_file(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

EncodedState encode(const PlatformMachine& machine) {
    ftvmm::machine::MachineState state;
    state.config.memory_bytes = machine.memory().size();
    state.config.virtio = PlatformMachine::config();
    state.identity = "fuzz";
    state.machine.platform = machine.state();
    auto encoded = ftvmm::machine::encode_state(state);
    FTVMM_CHECK(encoded, "a small machine's state fits into a file");
    return *encoded;
}

// An input with the steps `steps` behind it.
void write_input(const std::filesystem::path& path, std::uint8_t what, const std::string& steps,
                 std::size_t bulk, const std::string& rest) {
    const std::string some = '\0' + steps.substr(0, 200);  // With every field as it is.
    const auto byte = [](std::size_t value) { return static_cast<char>(value & 0xffU); };
    std::ofstream(path, std::ios::binary)
        << std::string{byte(what), byte(some.size()), byte(bulk), byte(bulk >> 8U)} << some << rest;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) {
        std::fputs("usage: fuzz_state_seeds CORPUS_OF_PLATFORM CORPUS_OF_STATE\n", stderr);
        return 2;
    }
    const std::filesystem::path target(argv[2]);
    std::filesystem::create_directories(target);
    for (const auto& entry : std::filesystem::directory_iterator(argv[1])) {
        if (entry.path().filename().string().starts_with("found_")) continue;
        const std::string steps = read_file(entry.path());
        PlatformMachine machine;
        FuzzInput input({reinterpret_cast<const std::uint8_t*>(steps.data()), steps.size()});
        while (!input.empty()) {
            (void)input.take<std::uint8_t>();  // Whether platform_fuzz.cpp restores there.
            (void)machine.step(input);
        }
        const EncodedState state = encode(machine);
        const auto path = target / entry.path().filename();
        std::string rest(reinterpret_cast<const char*>(state.bulk.data()), state.bulk.size());
        write_input(path, 0, steps, state.bulk.size(), rest + state.message);
        if (entry.path().filename() != "all") continue;
        const std::string file = target / "file";
        const auto written = ftvmm::machine::write_state_file(file, state, machine.memory());
        FTVMM_CHECK(written, "a state file can be written here");
        write_input(file, StateInput::kFile, steps, 0, read_file(file));
    }
    return 0;
}
