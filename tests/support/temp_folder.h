// A folder of a test's own, gone with everything in it when the test ends.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>

namespace ftvmm::testing {

class TempFolder {
  public:
    TempFolder() {
        // mkdtemp() puts a name of its own for the letters at the end.
        std::string name = (std::filesystem::temp_directory_path() / "ftvmm-test-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
        path_ = name;
    }
    TempFolder(const TempFolder&) = delete;
    TempFolder& operator=(const TempFolder&) = delete;
    ~TempFolder() { std::filesystem::remove_all(path_); }

    // The path of `name` in it.
    [[nodiscard]] std::string file(std::string_view name) const { return (path_ / name).string(); }
    // How many files it holds.
    [[nodiscard]] std::size_t files() const {
        using Iterator = std::filesystem::directory_iterator;
        return static_cast<std::size_t>(std::distance(Iterator(path_), Iterator()));
    }

  private:
    std::filesystem::path path_;
};

}  // namespace ftvmm::testing
