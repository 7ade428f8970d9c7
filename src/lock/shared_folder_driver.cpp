#include "lock/shared_folder_driver.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <limits>
#include <memory>
#include <optional>

#include "base/overloaded.h"
#include "base/random.h"
#include "lock/fields.h"
#include "lock/generation.h"

namespace ftvmm::lock {

namespace {

constexpr std::int64_t kExfatMagic = 0x2011BAB0;  // linux/magic.h has it since Linux 6.1 alone.
constexpr mode_t kMode = 0644;

Reply unknown(const Error& error) {
    return reply::Unknown{error.line()};
}

Reply unknown(int error_number, std::string_view what) {
    return unknown(Error::from_errno(error_number, what));
}

Result<void> write_all(const Fd& fd, std::string_view text) {
    while (!text.empty()) {
        const ssize_t put = ::write(fd.get(), text.data(), text.size());
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return Failure(Error::from_errno(errno, "write"));
        text.remove_prefix(static_cast<std::size_t>(put));
    }
    return {};
}

// What /sys says, or nothing where the kernel has no NFS client yet.
std::string recovers_locks() {
    const auto fd = Fd::open("/sys/module/nfs/parameters/recover_lost_locks", O_RDONLY);
    if (!fd) return {};
    std::string text(1, '\0');
    if (::read(fd->get(), text.data(), text.size()) != 1) return {};
    return text;
}

// The number of "gen-<n>", or nothing.
std::optional<std::uint64_t> number_of(std::string_view name) {
    constexpr std::string_view kBefore = "gen-";
    if (!name.starts_with(kBefore)) return std::nullopt;
    return to_number(name.substr(kBefore.size()));
}

}  // namespace

Result<void> check_file_system(std::int64_t type, std::string_view recovers_locks) {
    if (type == MSDOS_SUPER_MAGIC || type == kExfatMagic) {
        return fail("a FAT file system has no hard links, by which it is settled who runs a VM",
                    "keep the folder on NFS, or on a cluster file system that has them");
    }
    // A lock that was lost and taken again in silence may have been another's in between.
    const bool recovers = recovers_locks.starts_with('Y') || recovers_locks.starts_with('1');
    if (type == NFS_SUPER_MAGIC && recovers) {
        return fail("this host takes locks that it lost on NFS again without a word",
                    "boot it without nfs.recover_lost_locks=1");
    }
    return {};
}

Result<SharedFolder> SharedFolder::open(const std::string& path) {
    auto fd = Fd::open(path, O_RDONLY | O_DIRECTORY);
    if (!fd) {
        return Failure(fd.error()
                           .with_context("shared folder")
                           .with_advice("mount the storage, and make the VM's folder on it if this "
                                        "is the VM's first start"));
    }
    struct statfs facts {};
    if (::fstatfs(fd->get(), &facts) != 0) return Failure(Error::from_errno(errno, path));
    const auto checked = check_file_system(facts.f_type, recovers_locks());
    if (!checked) return Failure(checked.error().with_context(path));
    return SharedFolder(std::move(*fd));
}

SharedFolder::SharedFolder(Fd folder) : folder_(std::move(folder)) {
    SystemEntropy entropy;
    run_ = to_hex(random_nonce(entropy));
}

Reply SharedFolder::carry_out(const Request& request) {
    return std::visit(
        Overloaded{
            [&](const request::WriteOwn& write) { return replace(write.name, write.content); },
            [&](const request::Link& wanted) { return link(wanted); },
            [&](const request::Read& wanted) { return read(wanted.name); },
            [&](const request::FindNewest&) { return find_newest(); },
            [&](const request::TakeLock&) { return take_lock(); },
            [&](const request::WriteRecord& write) {
                return write_record(write.name, write.content);
            },
        },
        request);
}

// A new file takes the name. The one before may have a second name, and keeps what it holds.
Reply SharedFolder::replace(const std::string& name, const std::string& content) {
    const std::string temporary = fmt::format("tmp-{}-{}", run_, ++made_);
    const auto write = [&]() -> Result<void> {
        const Fd fd(::openat(folder_.get(), temporary.c_str(),
                             O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kMode));
        if (!fd.valid()) return Failure(Error::from_errno(errno, "open"));
        FTVMM_TRY(write_all(fd, content));
        if (::fsync(fd.get()) != 0) return Failure(Error::from_errno(errno, "fsync"));
        return {};
    };
    auto written = write();
    if (written && ::renameat(folder_.get(), temporary.c_str(), folder_.get(), name.c_str()) != 0) {
        written = Failure(Error::from_errno(errno, "rename"));
    }
    if (!written) {
        (void)::unlinkat(folder_.get(), temporary.c_str(), 0);
        return unknown(written.error().with_context(name));
    }
    if (const auto synced = sync(); !synced) return unknown(synced.error().with_context(name));
    return reply::Done{};
}

// In place, and open for as long as this run writes it. Another name for each beat would be whole
// at any time, but an NFS server asks each host that has looked at the one before to give it back,
// and waits for those that died; none is given a file that somebody has open to write.
Reply SharedFolder::write_record(const std::string& name, const std::string& content) {
    if (record_name_ != name) {
        Fd fd(::openat(folder_.get(), name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
                       kMode));
        if (!fd.valid()) return unknown(errno, name);
        if (const auto synced = sync(); !synced) return unknown(synced.error().with_context(name));
        record_ = std::move(fd);
        record_name_ = name;
    }
    const ssize_t length = ::pwrite(record_.get(), content.data(), content.size(), 0);
    if (length < 0) return unknown(errno, name);
    if (static_cast<std::size_t>(length) != content.size()) return unknown(ENOSPC, name);
    // A last word may be shorter.
    if (::ftruncate(record_.get(), length) != 0) return unknown(errno, name);
    if (::fsync(record_.get()) != 0) return unknown(errno, name);
    return reply::Done{};
}

Reply SharedFolder::link(const request::Link& link) {
    const int made =
        ::linkat(folder_.get(), link.from.c_str(), folder_.get(), link.to.c_str(), 0) == 0 ? 0
                                                                                           : errno;
    if (made == EPERM || made == EOPNOTSUPP) {
        return unknown(Error::from_errno(made, link.to, "the file system needs hard links"));
    }
    if (made != 0 && made != EEXIST) return unknown(made, link.to);
    // Also of one that was there: it may be this run's own from a link whose sync failed, and who
    // finds it has won.
    if (const auto synced = sync(); !synced) return unknown(synced.error().with_context(link.to));
    if (made == EEXIST) return reply::Taken{};
    return reply::Done{};
}

Reply SharedFolder::read(const std::string& name) {
    auto text = read_once(name);
    // Replaced by another host between its open and its read: there is a newer one.
    if (!text && text.error().error_number() == ESTALE) text = read_once(name);
    if (text) return reply::Content{std::move(*text)};
    if (text.error().error_number() == ENOENT) return reply::Missing{};
    return unknown(text.error());
}

Result<std::string> SharedFolder::read_once(const std::string& name) const {
    if (const auto fresh = revalidate(); !fresh) {
        // Without its number: that is of the folder, and says nothing of the file.
        return fail(fresh.error().what());
    }
    const Fd fd(::openat(folder_.get(), name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!fd.valid()) return Failure(Error::from_errno(errno, name));
    std::string text(kMaxFileBytes + 1, '\0');
    std::size_t length = 0;
    while (length < text.size()) {
        const ssize_t got = ::read(fd.get(), text.data() + length, text.size() - length);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return Failure(Error::from_errno(errno, name));
        if (got == 0) break;
        length += static_cast<std::size_t>(got);
    }
    text.resize(length);
    return text;
}

Reply SharedFolder::find_newest() {
    if (const auto fresh = revalidate(); !fresh) return unknown(fresh.error());
    // Opened anew: it reads from the beginning, and no copy of an earlier reading.
    const int opened = ::openat(folder_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (opened < 0) return unknown(errno, "the shared folder");
    const std::unique_ptr<DIR, int (*)(DIR*)> folder(::fdopendir(opened), &::closedir);
    if (folder == nullptr) {
        const Fd closes(opened);
        return unknown(errno, "the shared folder");
    }
    std::uint64_t newest = 0;
    while (true) {
        errno = 0;
        const dirent* const entry = ::readdir(folder.get());
        if (entry == nullptr && errno != 0) return unknown(errno, "the shared folder");
        if (entry == nullptr) break;
        newest = std::max(newest, number_of(entry->d_name).value_or(0));
    }
    // The one behind it has to be a number too.
    if (newest == std::numeric_limits<std::uint64_t>::max()) {
        return reply::Unknown{fmt::format("gen-{} is none that is written", newest)};
    }
    return reply::Newest{Generation(newest)};
}

Reply SharedFolder::take_lock() {
    if (lock_.valid()) return reply::Done{};
    const std::string name(kLockFile);
    Fd fd(::openat(folder_.get(), name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, kMode));
    if (!fd.valid()) return unknown(errno, name);
    // An OFD lock, never a POSIX one: that vanishes at any close in the process.
    struct flock whole {};
    whole.l_type = F_WRLCK;
    whole.l_whence = SEEK_SET;
    if (::fcntl(fd.get(), F_OFD_SETLK, &whole) != 0) {
        if (errno == EAGAIN || errno == EACCES) return reply::Taken{};
        return unknown(errno, name);
    }
    lock_ = std::move(fd);
    return reply::Done{};
}

Result<void> SharedFolder::revalidate() const {
    // An NFS client keeps names that it looked up, and names that it did not find, for as long as
    // it takes the folder for unchanged. So it has to ask for the folder.
    struct statx facts {};
    if (::statx(folder_.get(), "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_BASIC_STATS,
                &facts) != 0) {
        return Failure(Error::from_errno(errno, "the shared folder"));
    }
    return {};
}

Result<void> SharedFolder::sync() const {
    if (::fsync(folder_.get()) != 0) {
        return Failure(Error::from_errno(errno, "fsync of the shared folder"));
    }
    return {};
}

}  // namespace ftvmm::lock
