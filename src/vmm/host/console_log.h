// The guest's console in a file.
#pragma once

#include <memory>
#include <string>

#include "base/fd.h"
#include "vmm/host/console_backend.h"

namespace ftvmm::host {

// Appends all that the guest prints to a file, which may be moved away or cut at any time. Nobody
// types.
class ConsoleLog final : public ConsoleBackend {
  public:
    // Makes the file, for its owner alone, where there is none.
    static Result<std::unique_ptr<ConsoleLog>> open(const std::string& path);

    [[nodiscard]] int fd() const override { return -1; }
    [[nodiscard]] std::vector<std::byte> service(std::size_t) override { return {}; }
    Result<void> print(std::span<const std::byte> bytes) override;

  private:
    ConsoleLog(std::string path, Fd file) : path_(std::move(path)), file_(std::move(file)) {}
    std::string path_;
    Fd file_;
};

}  // namespace ftvmm::host
