// The folder of one VM on shared storage, and how each request is carried out there. May wait for
// as long as the storage does.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"
#include "lock/storage.h"

namespace ftvmm::lock {

inline constexpr std::string_view kLockFile = "owner.lock";

// Whether files there keep what the election needs. `type` is statfs(2)'s, `recovers_locks` what
// the kernel's nfs.recover_lost_locks says, or empty.
[[nodiscard]] Result<void> check_file_system(std::int64_t type, std::string_view recovers_locks);

// One thread. What it makes besides the files of the requests are files "tmp-<nonce>-<number>",
// each gone with its request. One that a killed run left is nobody's to remove: it may be another
// host's that is at work.
class SharedFolder {
  public:
    // The folder is there already: where storage is not mounted, a new one would be an empty one,
    // and its VM one that never ran.
    static Result<SharedFolder> open(const std::string& path);

    // Unknown names the file and the error.
    [[nodiscard]] Reply carry_out(const Request& request);

  private:
    explicit SharedFolder(Fd folder);

    [[nodiscard]] Reply replace(const std::string& name, const std::string& content);
    [[nodiscard]] Reply write_record(const std::string& name, const std::string& content);
    [[nodiscard]] Reply link(const request::Link& link);
    [[nodiscard]] Reply read(const std::string& name);
    [[nodiscard]] Result<std::string> read_once(const std::string& name) const;
    [[nodiscard]] Reply find_newest();
    [[nodiscard]] Reply take_lock();
    // What another host did comes to be seen here.
    [[nodiscard]] Result<void> revalidate() const;
    // The names in it outlive the storage's power.
    [[nodiscard]] Result<void> sync() const;

    Fd folder_;
    Fd lock_;  // Open for as long as this lives, once the lock is had.
    Fd record_;
    std::string record_name_;
    std::string run_;
    std::uint64_t made_ = 0;
};

}  // namespace ftvmm::lock
