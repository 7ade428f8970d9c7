#include "cli/memory_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/fd.h"

namespace ftvmm::cli {

namespace {

Error failed(const char* what, const std::string& path) {
    return Error::from_errno(errno, fmt::format("{} {}", what, path));
}

Result<void> write_page(const Fd& file, std::span<const std::byte> page, std::size_t at,
                        const std::string& path) {
    while (!page.empty()) {
        const ssize_t written =
            ::pwrite(file.get(), page.data(), page.size(), static_cast<off_t>(at));
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return Failure(failed("cannot write", path));
        page = page.subspan(static_cast<std::size_t>(written));
        at += static_cast<std::size_t>(written);
    }
    return {};
}

}  // namespace

Result<void> write_memory_file(const std::string& path, std::span<const std::byte> memory) {
    const Fd file(::open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600));
    if (!file.valid()) return Failure(failed("cannot create", path));
    if (::ftruncate(file.get(), static_cast<off_t>(memory.size())) != 0) {
        return Failure(failed("cannot make room in", path));
    }
    for (std::size_t at = 0; at < memory.size(); at += kPageBytes) {
        const auto page = memory.subspan(at, kPageBytes);
        const bool is_zero =
            std::ranges::all_of(page, [](std::byte byte) { return byte == std::byte{}; });
        if (!is_zero) FTVMM_TRY(write_page(file, page, at, path));
    }
    return {};
}

Result<machine::MemoryDifferences> compare_memory_file(const std::string& path,
                                                       std::span<const std::byte> memory) {
    FTVMM_ASSIGN(const auto file, Fd::open(path, O_RDONLY));
    struct stat facts {};
    if (::fstat(file.get(), &facts) != 0) return Failure(failed("cannot look at", path));
    if (static_cast<std::uint64_t>(facts.st_size) != memory.size()) {
        return fail(fmt::format("{} holds {} bytes of memory, and the guest has {}", path,
                                facts.st_size, memory.size()));
    }
    machine::MemoryComparison comparison;
    std::array<std::byte, kPageBytes> page{};
    for (std::size_t at = 0; at < memory.size(); at += kPageBytes) {
        const ssize_t read = ::pread(file.get(), page.data(), page.size(), static_cast<off_t>(at));
        if (read != static_cast<ssize_t>(page.size())) return Failure(failed("cannot read", path));
        comparison.add(at, page, memory.subspan(at).first<kPageBytes>(), memory.size());
    }
    return comparison.found();
}

}  // namespace ftvmm::cli
