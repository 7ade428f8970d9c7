#!/bin/bash
# Makes the host image.  usage: make-image.sh IMAGE_DIR OUT_DIR DEB_CACHE
#
# Runs in mount and pid namespaces of its own: everything it mounts, the tree it builds in memory
# included, is gone when it ends, however it ends.  OUT_DIR receives root.ext4, vmlinuz, initrd.img
# and the ssh key pair.  Lines that begin with "==" are progress.
set -euo pipefail
export LC_ALL=C DEBIAN_FRONTEND=noninteractive
image=$1 out=$2 cache=$3
root=$out/root
mkdir -p "$root" "$cache"
mount -t tmpfs -o size=2g,mode=755 ftvmm-image "$root"

echo "== installing Debian 12 with debootstrap"
packages=$(sed 's/#.*//' "$image/packages" | xargs | tr ' ' ',')
debootstrap --variant=minbase --merged-usr --cache-dir="$cache" --include="$packages" \
  bookworm "$root" ${FTVMM_TESTBED_MIRROR:-}

echo "== configuring"
cp -a --no-preserve=ownership "$image/overlay/." "$root/"
mkdir -p "$root/srv/ftvmm-export" "$root/srv/ftvmm" "$root/build" "$root/root/.ssh"
rm -f "$root"/etc/ssh/ssh_host_*
ssh-keygen -q -t ed25519 -N '' -C host -f "$root/etc/ssh/ssh_host_ed25519_key"
ssh-keygen -q -t ed25519 -N '' -C testbed -f "$out/ssh_key"
install -m 600 "$out/ssh_key.pub" "$root/root/.ssh/authorized_keys"
echo localhost > "$root/etc/hostname"
: > "$root/etc/fstab"
: > "$root/etc/machine-id"  # empty: no first-boot presets; the id is on the kernel command line

units() { chroot "$root" systemctl --root=/ -q "$@"; }
units set-default multi-user.target
units enable ssh.service
for unit in ssh.socket nfs-server.service nfs-client.target remote-fs.target; do
  units disable "$unit" || true
done
units mask getty.target getty@tty1.service serial-getty@ttyS0.service systemd-logind.service \
  rpcbind.service rpcbind.socket rpc-statd.service rpc-statd-notify.service nfs-blkmap.service \
  rpc-gssd.service rpc-svcgssd.service auth-rpcgss-module.service \
  apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
  fstrim.timer systemd-tmpfiles-clean.timer systemd-timesyncd.service \
  systemd-networkd.service systemd-resolved.service networking.service \
  systemd-pstore.service systemd-random-seed.service systemd-update-utmp.service \
  systemd-update-utmp-runlevel.service systemd-user-sessions.service apparmor.service \
  ldconfig.service systemd-machine-id-commit.service systemd-sysusers.service \
  systemd-firstboot.service systemd-modules-load.service dev-hugepages.mount dev-mqueue.mount \
  sys-kernel-tracing.mount sys-kernel-debug.mount modprobe@drm.service modprobe@efi_pstore.service \
  systemd-binfmt.service proc-sys-fs-binfmt_misc.automount modprobe@configfs.service \
  modprobe@dm_mod.service modprobe@fuse.service modprobe@loop.service sys-kernel-config.mount \
  systemd-update-done.service systemd-journal-catalog-update.service systemd-hwdb-update.service \
  systemd-quotacheck.service systemd-remount-fs.service e2scrub_reap.service nfs-utils.service \
  systemd-ask-password-wall.path systemd-ask-password-console.path
# D-Bus starts when something asks for it; systemctl as root does without.
rm -f "$root"/lib/systemd/system/multi-user.target.wants/dbus.service

echo "== making the initrd"
version=$(ls "$root/lib/modules")
cp "$root/boot/vmlinuz-$version" "$out/vmlinuz"
tree=$out/initrd
mkdir -p "$tree"/{bin,dev,proc,sys,root,modules}
cp "$root/bin/busybox" "$tree/bin/busybox"
cp "$image/initrd-init" "$tree/init"
for driver in virtio_pci virtio_blk crc32c_generic ext4 virtio_net; do
  chroot "$root" modprobe --set-version "$version" --show-depends "$driver"
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r path; do
  cp "$root/$path" "$tree/modules/"
  basename "$path" >> "$tree/modules/order"
done
# cpio is in the image, not needed on the machine that builds.
mkdir "$root/initrd"
mount --bind "$tree" "$root/initrd"
chroot "$root" sh -c 'cd /initrd && find . | cpio --quiet -o -H newc' > "$out/initrd.img"
umount "$root/initrd"
rmdir "$root/initrd"
rm -rf "$tree"

echo "== writing the file system"
rm -rf "$root"/usr/share/{doc,man,locale,info} "$root"/var/cache/apt "$root"/var/lib/apt/lists/* \
  "$root"/boot/{initrd,vmlinuz}* "$root"/var/cache/debconf/*-old
mkdir -p "$root/var/cache/apt/archives/partial"
mkfs.ext4 -q -L ftvmm-host -m 0 -E lazy_itable_init=1,lazy_journal_init=1 -d "$root" \
  "$out/root.ext4" 6G
umount "$root"
rmdir "$root"
