#include "vmm/machine/nested_paging.h"

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <catch2/catch.hpp>

namespace ftvmm::machine {
namespace {

class Modules {
  public:
    Modules() { std::filesystem::create_directories(folder_); }
    Modules(const Modules&) = delete;
    Modules& operator=(const Modules&) = delete;
    ~Modules() { std::filesystem::remove_all(folder_); }

    void add(const char* module) {
        std::filesystem::create_directories(folder_ / module / "parameters");
    }
    void add(const char* module, const char* parameter, const char* value) {
        add(module);
        std::ofstream(folder_ / module / "parameters" / parameter) << value << "\n";
    }
    [[nodiscard]] bool nested() const { return has_nested_paging(folder_); }
    [[nodiscard]] std::filesystem::path folder() const { return folder_; }

  private:
    std::filesystem::path folder_ =
        std::filesystem::temp_directory_path() / fmt::format("ftvmm-modules-{}", ::getpid());
};

TEST_CASE("Paging is nested where the processor's module says so, whichever way it says it") {
    for (const char* yes : {"Y", "1"}) {
        Modules modules;
        modules.add("kvm", "tdp_mmu", "Y");
        modules.add("kvm_amd", "npt", yes);
        CHECK(modules.nested());
    }
    Modules modules;
    modules.add("kvm_intel", "ept", "Y");
    CHECK(modules.nested());
}

TEST_CASE("Paging is shadowed where it is switched off, or where nothing is said of it") {
    Modules modules;
    CHECK(!modules.nested());
    modules.add("kvm", "tdp_mmu", "Y");
    CHECK(!modules.nested());
    modules.add("kvm_amd", "npt", "0");
    CHECK(!modules.nested());
    modules.add("kvm_amd", "npt", "Y");
    modules.add("kvm_pvm");
    CHECK(!modules.nested());
    CHECK(!has_nested_paging(modules.folder() / "absent"));
}

}  // namespace
}  // namespace ftvmm::machine
