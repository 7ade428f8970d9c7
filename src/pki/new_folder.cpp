#include "pki/new_folder.h"

#include <fcntl.h>
#include <stdio.h>  // NOLINT(modernize-deprecated-headers,hicpp-deprecated-headers): renameat2.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "base/fd.h"

namespace ftvmm::pki {

namespace {

constexpr mode_t kOwnersFolder = 0700;

// Behind the name of the place, in front of letters that mkdtemp(3) chooses.
constexpr std::string_view kNew = ".new-";
constexpr std::string_view kOld = ".old-";

Result<void> write_all(const Fd& fd, std::string_view text, const std::string& path) {
    while (!text.empty()) {
        const ssize_t written = ::write(fd.get(), text.data(), text.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return Failure(Error::from_errno(errno, "writing " + path));
        text.remove_prefix(static_cast<std::size_t>(written));
    }
    return {};
}

// What was created, renamed or removed in `folder` stays so.
Result<void> sync_folder(const std::string& folder) {
    FTVMM_ASSIGN(const Fd fd, Fd::open(folder, O_RDONLY | O_DIRECTORY));
    if (::fsync(fd.get()) != 0) return Failure(Error::from_errno(errno, "writing " + folder));
    return {};
}

std::string parent_of(const std::string& path) {
    const auto parent = std::filesystem::path(path).parent_path();
    return parent.empty() ? "." : parent.string();
}

}  // namespace

Result<NewFolder> NewFolder::beside(const std::string& path) {
    std::string place = std::filesystem::path(path).lexically_normal().string();
    while (place.size() > 1 && place.back() == '/')
        place.pop_back();
    std::string made = place + std::string(kNew) + "XXXXXX";
    if (::mkdtemp(made.data()) == nullptr) {
        return Failure(
            Error::from_errno(errno, "a new folder in " + parent_of(place),
                              errno == ENOENT ? "make that folder, or name another place" : ""));
    }
    return NewFolder(std::move(made), std::move(place));
}

NewFolder::NewFolder(NewFolder&& other) noexcept
    : made_(std::exchange(other.made_, {})), place_(std::move(other.place_)) {}

NewFolder::~NewFolder() {
    std::error_code ignored;
    if (!made_.empty()) std::filesystem::remove_all(made_, ignored);
}

Result<void> NewFolder::write(const std::string& name, std::string_view text, mode_t mode) {
    const std::string path = made_ + "/" + name;
    const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
    if (!fd.valid()) return Failure(Error::from_errno(errno, path));
    FTVMM_TRY(write_all(fd, text, path));
    if (::fsync(fd.get()) != 0) return Failure(Error::from_errno(errno, "writing " + path));
    return {};
}

Result<void> NewFolder::make_folder(const std::string& name) {
    const std::string path = made_ + "/" + name;
    if (::mkdir(path.c_str(), kOwnersFolder) == 0) return {};
    return Failure(Error::from_errno(errno, path));
}

Result<void> NewFolder::publish() {
    FTVMM_TRY(sync_folder(made_));
    // rename(2) of a folder: it replaces an empty one and fails on all else.
    if (::rename(made_.c_str(), place_.c_str()) != 0) {
        const bool is_there = errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR;
        if (is_there) return fail(place_ + " is there already", "it is replaced only by --force");
        return Failure(Error::from_errno(errno, place_));
    }
    made_.clear();
    return sync_folder(parent_of(place_));
}

Result<std::string> NewFolder::publish_over() {
    FTVMM_TRY(sync_folder(made_));
    std::string old;
    if (::renameat2(AT_FDCWD, made_.c_str(), AT_FDCWD, place_.c_str(), RENAME_EXCHANGE) == 0) {
        // What lies there now is not new: its name says so, if it can.
        old = made_;
        old.replace(place_.size(), kNew.size(), kOld);
        if (::rename(made_.c_str(), old.c_str()) != 0) old = made_;
        made_.clear();
    } else if (errno == ENOENT) {
        FTVMM_TRY(publish());
    } else {
        return Failure(
            Error::from_errno(errno, "replacing " + place_, "move it away, and leave out --force"));
    }
    FTVMM_TRY(sync_folder(parent_of(place_)));
    return old;
}

}  // namespace ftvmm::pki
