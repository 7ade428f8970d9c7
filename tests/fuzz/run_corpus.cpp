// Runs a fuzzer once over each file of a folder, in the builds without libFuzzer.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "fuzz_input.h"

namespace {

std::vector<std::uint8_t> read_file(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fputs("usage: fuzz_NAME CORPUS_FOLDER\n", stderr);
        return 2;
    }
    std::vector<std::filesystem::path> paths;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(argv[1], error))
        paths.push_back(entry.path());
    std::ranges::sort(paths);
    for (const auto& path : paths) {
        // Said before, so that the last line names the input that broke something.
        std::printf("%s\n", path.c_str());
        (void)std::fflush(stdout);
        const auto input = read_file(path);
        (void)LLVMFuzzerTestOneInput(input.data(), input.size());
    }
    if (!paths.empty()) return 0;
    std::fprintf(stderr, "%s holds no inputs: name a folder of tests/fuzz/corpus\n", argv[1]);
    return 1;
}
