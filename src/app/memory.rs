//! The memory that this process may use, from the control group of its container or unit (cgroups(7)). A process that uses
//! more is killed, so the limit is worth knowing beforehand.

use std::fs;
use std::path::{Component, Path};

/// From here on it is no limit: version 1 writes the largest number of pages for `none`.
const UNLIMITED: u64 = 1 << 50;

/// The lowest limit of the groups that this process is in, in bytes; none where none is set or can be read. `root` is `/`.
pub(super) fn limit(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    groups.lines().filter_map(|line| limit_of(root, line)).min()
}

/// The lowest limit from the group of one hierarchy up to its root: each holds for all below it.
fn limit_of(root: &Path, line: &str) -> Option<u64> {
    // `hierarchy-ID:controller-list:cgroup-path`, the list empty in version 2.
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, Path::new(parts.next()?));
    let (mount, file) = match controllers {
        "" => ("sys/fs/cgroup", "memory.max"),
        list if list.split(',').any(|name| name == "memory") => {
            ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return None,
    };
    // With `..` the group is beside those that this namespace shows. And where a container sees the path of the host, but
    // only its own group, that one is mounted as the root.
    let is_visible = !path.components().any(|part| part == Component::ParentDir);
    let path = path.strip_prefix("/").ok().filter(|_| is_visible).unwrap_or_else(|| Path::new(""));
    let limits = path.ancestors().filter_map(|group| {
        let text = fs::read_to_string(root.join(mount).join(group).join(file)).ok()?;
        // `max` is no number.
        text.trim().parse().ok().filter(|limit| *limit < UNLIMITED)
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const NONE: &str = "9223372036854771712\n";

    type Row<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], Option<u64>);

    /// Each row: what it is, `/proc/self/cgroup`, the files below `/sys/fs/cgroup`, and the limit in MiB.
    #[test]
    fn the_lowest_limit_on_the_way_up_counts() {
        let rows: &[Row<'_>] = &[
            ("a container with a namespace of its own", "0::/\n", &[("memory.max", "33554432\n")], Some(32)),
            ("no limit", "0::/\n", &[("memory.max", "max\n")], None),
            ("the root has no such file", "0::/\n", &[("memory.stat", "anon 1\n")], None),
            ("no line at all", "", &[("memory.max", "33554432\n")], None),
            (
                "a unit, whose slice has more",
                "0::/system.slice/auth-proxy.service\n",
                &[
                    ("system.slice/auth-proxy.service/memory.max", "67108864\n"),
                    ("system.slice/memory.max", "134217728\n"),
                ],
                Some(64),
            ),
            (
                "a unit, whose slice has less",
                "0::/system.slice/auth-proxy.service\n",
                &[
                    ("system.slice/auth-proxy.service/memory.max", "max\n"),
                    ("system.slice/memory.max", "33554432\n"),
                ],
                Some(32),
            ),
            (
                "a pod, whose container has no limit",
                "0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-2.scope\n",
                &[
                    ("kubepods.slice/kubepods-pod1.slice/cri-containerd-2.scope/memory.max", "max\n"),
                    ("kubepods.slice/kubepods-pod1.slice/memory.max", "201326592\n"),
                    ("kubepods.slice/memory.max", "8589934592\n"),
                ],
                Some(192),
            ),
            (
                "version 1 on a host",
                "12:cpu,cpuacct:/a\n7:memory:/docker/1\n1:name=systemd:/docker/1\n",
                &[
                    ("memory/docker/1/memory.limit_in_bytes", "33554432\n"),
                    ("memory/docker/memory.limit_in_bytes", NONE),
                    ("memory/memory.limit_in_bytes", NONE),
                ],
                Some(32),
            ),
            (
                "version 1 in a container that sees the path of the host",
                "7:memory:/docker/1\n",
                &[("memory/memory.limit_in_bytes", "33554432\n")],
                Some(32),
            ),
            (
                "version 1 with another controller in the same hierarchy",
                "7:hugetlb,memory:/\n",
                &[("memory/memory.limit_in_bytes", "33554432\n")],
                Some(32),
            ),
            ("version 1 without a limit", "7:memory:/\n", &[("memory/memory.limit_in_bytes", NONE)], None),
            (
                "both versions, memory in the first",
                "7:memory:/a\n0::/a\n",
                &[("memory/a/memory.limit_in_bytes", "33554432\n"), ("unified/a/cgroup.procs", "1\n")],
                Some(32),
            ),
            (
                "a group that this namespace does not show",
                "0::/../../other\n",
                &[("other/memory.max", "1\n"), ("memory.max", "33554432\n")],
                Some(32),
            ),
            ("a colon in the name", "0::/a:b\n", &[("a:b/memory.max", "33554432\n")], Some(32)),
            ("nonsense", "0::/\n7\n::\n:memory:\n", &[("memory.max", "-1\n")], None),
        ];
        let directory = std::env::temp_dir().join(format!("auth-proxy cgroups {}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        for (number, (what, groups, files, expected)) in rows.iter().enumerate() {
            let root = directory.join(number.to_string());
            let write = |path: &str, content: &str| {
                let path = root.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, content).unwrap();
            };
            write("proc/self/cgroup", groups);
            files.iter().for_each(|(path, content)| write(&format!("sys/fs/cgroup/{path}"), content));
            assert_eq!(limit(&root), expected.map(|limit| limit * MIB), "{what}");
        }
        assert_eq!(limit(&directory), None, "there is no such thing as a control group");
        fs::remove_dir_all(directory).unwrap();
    }
}
