#include "vmm/host/mount_facts.h"

#include <sys/sysmacros.h>

#include <catch2/catch.hpp>

namespace ftvmm::host {
namespace {

constexpr const char* kMounts =
    "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,nolockless\n"
    "40 22 0:45 / /srv/a rw,noatime shared:9 - nfs4 nfs1:/ rw,vers=4.2,hard,local_lock=none\n"
    "41 22 0:46 / /srv/b rw - nfs nfs1:/b rw,vers=3,nolock,local_lock=all,addr=192.0.2.1\n"
    "42 22 0:47 / /srv/c rw - nfs nfs1:/c rw,local_lock=flock\n"
    "43 22 0:4 / /srv/d rw - gfs2 /dev/sdb rw,localflocks";

TEST_CASE("A mount tells whether its locks are this host's own") {
    CHECK_FALSE(has_local_locks(kMounts, ::makedev(8, 1)));
    CHECK_FALSE(has_local_locks(kMounts, ::makedev(0, 45)));
    CHECK(has_local_locks(kMounts, ::makedev(0, 46)));
    // Those of flock(2) are not the ones that disks have.
    CHECK_FALSE(has_local_locks(kMounts, ::makedev(0, 47)));
    CHECK(has_local_locks(kMounts, ::makedev(0, 4)));
    CHECK_FALSE(has_local_locks(kMounts, ::makedev(0, 99)));
    CHECK_FALSE(has_local_locks("", ::makedev(0, 46)));
}

}  // namespace
}  // namespace ftvmm::host
