#include "vmm/machine/checked_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <new>

namespace ftvmm::machine {

Checksum::Checksum() : state_(XXH3_createState()) {
    if (!state_) throw std::bad_alloc();
    XXH3_64bits_reset(state_.get());
}

void Checksum::add(std::span<const std::byte> bytes) {
    XXH3_64bits_update(state_.get(), bytes.data(), bytes.size());
}

std::uint64_t Checksum::value() const {
    return XXH3_64bits_digest(state_.get());
}

Result<AtomicFile> AtomicFile::create(const std::string& path) {
    const std::string part = path + ".part";
    // One that a crash has left; it may be anybody's link by now, so it is not written through.
    if (::unlink(part.c_str()) != 0 && errno != ENOENT) {
        return Failure(Error::from_errno(errno, part));
    }
    Fd fd(::open(part.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                 S_IRUSR | S_IWUSR));
    if (!fd.valid()) return Failure(Error::from_errno(errno, part));
    return AtomicFile(path, std::move(fd));
}

AtomicFile::~AtomicFile() {
    if (fd_.valid()) ::unlink(part().c_str());
}

Result<void> AtomicFile::write(std::span<const std::byte> bytes) {
    checksum_.add(bytes);
    while (!bytes.empty()) {
        const ssize_t written = ::write(fd_.get(), bytes.data(), bytes.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) {
            return Failure(Error::from_errno(errno, part(), "free space there, or save elsewhere"));
        }
        bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
    return {};
}

Result<void> AtomicFile::sync_directory() const {
    const auto parent = std::filesystem::path(path_).parent_path();
    FTVMM_ASSIGN(const Fd directory,
                 Fd::open(parent.empty() ? "." : parent.string(), O_RDONLY | O_DIRECTORY));
    if (::fsync(directory.get()) != 0) return Failure(Error::from_errno(errno, parent.string()));
    return {};
}

Result<void> AtomicFile::commit() {
    if (::fsync(fd_.get()) != 0) return Failure(Error::from_errno(errno, part()));
    if (::rename(part().c_str(), path_.c_str()) != 0) {
        return Failure(Error::from_errno(errno, path_));
    }
    fd_ = Fd();
    return sync_directory();
}

Result<FileReader> FileReader::open(const std::string& path) {
    FTVMM_ASSIGN(Fd fd, Fd::open(path, O_RDONLY));
    return FileReader(std::move(fd));
}

Result<std::size_t> FileReader::read_some(std::span<std::byte> target) {
    while (true) {
        const ssize_t got = ::read(fd_.get(), target.data(), target.size());
        if (got >= 0) return static_cast<std::size_t>(got);
        if (errno != EINTR) return Failure(Error::from_errno(errno, "reading it"));
    }
}

Result<void> FileReader::read(std::span<std::byte> target) {
    for (auto rest = target; !rest.empty();) {
        FTVMM_ASSIGN(const std::size_t got, read_some(rest));
        if (got == 0) return fail("it ends before its end marker");
        rest = rest.subspan(got);
    }
    checksum_.add(target);
    return {};
}

Result<bool> FileReader::is_at_end() {
    std::array<std::byte, 1> more{};
    FTVMM_ASSIGN(const std::size_t got, read_some(more));
    return got == 0;
}

}  // namespace ftvmm::machine
