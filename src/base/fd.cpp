#include "base/fd.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace ftvmm {

Fd& Fd::operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
}

Fd::~Fd() {
    if (valid()) ::close(fd_);
}

Result<Fd> Fd::open(const std::string& path, int flags) {
    Fd fd(::open(path.c_str(), flags | O_CLOEXEC));
    if (!fd.valid()) return Failure(Error::from_errno(errno, path));
    return fd;
}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
}

Mapping::~Mapping() {
    if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
}

namespace {

Result<std::span<std::byte>> map(std::size_t size, int flags, int fd, std::size_t offset) {
    void* address =
        ::mmap(nullptr, size, PROT_READ | PROT_WRITE, flags, fd, static_cast<off_t>(offset));
    if (address == MAP_FAILED) {
        return Failure(Error::from_errno(errno, "mmap of " + std::to_string(size) + " bytes"));
    }
    return std::span(static_cast<std::byte*>(address), size);
}

}  // namespace

Result<Mapping> Mapping::shared(const Fd& fd, std::size_t size, std::size_t offset) {
    FTVMM_ASSIGN(const auto bytes, map(size, MAP_SHARED, fd.get(), offset));
    return Mapping(bytes);
}

Result<Mapping> Mapping::anonymous(std::size_t size) {
    FTVMM_ASSIGN(const auto bytes, map(size, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    return Mapping(bytes);
}

Result<Mapping> Mapping::anonymous_huge(std::size_t size) {
    if (size > SIZE_MAX - kHugePageBytes) return Failure(Error::from_errno(ENOMEM, "mmap"));
    FTVMM_ASSIGN(const auto whole,
                 map(size + kHugePageBytes, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    // The ends that are too much are given back; both are whole pages.
    const std::size_t before = -reinterpret_cast<std::uintptr_t>(whole.data()) % kHugePageBytes;
    if (before > 0) (void)::munmap(whole.data(), before);
    const auto bytes = whole.subspan(before, size);
    if (before < kHugePageBytes) {
        (void)::munmap(bytes.data() + bytes.size(), kHugePageBytes - before);
    }
    // A wish: a kernel without them says EINVAL.
    (void)::madvise(bytes.data(), bytes.size(), MADV_HUGEPAGE);
    return Mapping(bytes);
}

}  // namespace ftvmm
