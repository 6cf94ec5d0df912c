//! The published datasets: addresses, digests and terms of use.

use crate::{Archive, Digest, Format, Limits, Package, Remote, Size};

/// A published dataset: what it is, its terms of use, and how to install it.
#[derive(Clone, Debug)]
pub struct PublishedDataset {
    /// Short name by which programs refer to it.
    pub name: &'static str,
    /// Full name and content, in a phrase.
    pub about: &'static str,
    /// The `dataset.source` that reads the folder; its `dataset.root` is the package's folder.
    pub source: &'static str,
    /// Web page of its publishers.
    pub page: &'static str,
    /// Terms of use, as its publishers state them.
    pub terms: &'static str,
    /// Number of classes of a complete copy.
    pub classes: usize,
    /// Number of images of a complete copy.
    pub images: usize,
    /// Its repository on the Hugging Face hub, if it comes from there: then the hub lists the
    /// archives, and the package has none.
    pub repository: Option<&'static str>,
    /// Archives and folder.
    pub package: Package,
}

/// Returns every dataset that can be downloaded.
pub fn datasets() -> Vec<PublishedDataset> {
    vec![cub(), omniglot(), cifar_fs(), mini_imagenet()]
}

fn cub() -> PublishedDataset {
    let mirrors = [
        "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz?download=1",
        "https://s3.amazonaws.com/fast-ai-imageclas/CUB_200_2011.tgz",
    ];
    let remote = Remote {
        name: "CUB_200_2011.tgz".into(),
        mirrors: mirrors.map(Into::into).into(),
        size: Size::Exactly(1_150_585_339),
        digest: Digest::Md5(0x97ec_eeb1_9623_6b17_9987_3811_2f37_df78_u128.to_be_bytes()),
    };
    // The archive has attributes.txt beside the folder; it is unpacked into the folder.
    let strip = Some("CUB_200_2011".into());
    PublishedDataset {
        name: "cub",
        about: "Caltech-UCSD Birds-200-2011: photographs of birds",
        source: "cub",
        page: "https://www.vision.caltech.edu/datasets/cub_200_2011/",
        terms: "for non-commercial research and education; the photographs belong to those who \
                took them",
        classes: 200,
        images: 11_788,
        repository: None,
        package: Package {
            folder: "CUB_200_2011".into(),
            archives: vec![Archive { remote, format: Format::TarGz, strip }],
            on_disk: 1_300_000_000,
            limits: Limits { bytes: 3_000_000_000, entries: 30_000 },
            required_paths: ["images.txt", "classes.txt", "image_class_labels.txt", "images"]
                .map(Into::into)
                .into(),
        },
    }
}

fn omniglot() -> PublishedDataset {
    let archive = |name: &str, md5: u128| {
        let remote = Remote {
            name: format!("{name}.zip"),
            mirrors: vec![
                format!(
                    "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/{name}.zip"
                ),
                format!("https://github.com/brendenlake/omniglot/raw/master/python/{name}.zip"),
            ],
            size: Size::AtMost(32 << 20),
            digest: Digest::Md5(md5.to_be_bytes()),
        };
        Archive { remote, format: Format::Zip, strip: None }
    };
    PublishedDataset {
        name: "omniglot",
        about: "Omniglot: handwritten characters of 50 alphabets",
        source: "omniglot",
        page: "https://github.com/brendenlake/omniglot",
        terms: "MIT licence",
        classes: 1_623,
        images: 32_460,
        repository: None,
        package: Package {
            folder: "omniglot".into(),
            archives: vec![
                archive("images_background", 0x68d2_efa1_b917_8cc5_6df9_314c_21c6_e718),
                archive("images_evaluation", 0x6b91_aef0_f799_c5bb_55b9_4e3f_2dae_c811),
            ],
            // Files of a few hundred bytes, each of which takes up a block.
            on_disk: 180_000_000,
            limits: Limits { bytes: 128 << 20, entries: 60_000 },
            required_paths: ["images_background", "images_evaluation"].map(Into::into).into(),
        },
    }
}

fn cifar_fs() -> PublishedDataset {
    let remote = Remote {
        name: "cifar-100-binary.tar.gz".into(),
        mirrors: vec!["https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz".into()],
        size: Size::Exactly(168_513_733),
        digest: Digest::Md5(0x03b5_dce0_1913_d631_647c_71ec_ec9e_9cb8_u128.to_be_bytes()),
    };
    let strip = Some("cifar-100-binary".into());
    PublishedDataset {
        name: "cifar-fs",
        about: "CIFAR-FS: CIFAR-100 in the few-shot split of Bertinetto et al., ICLR 2019",
        source: "folders",
        page: "https://www.cs.toronto.edu/~kriz/cifar.html",
        terms: "none stated; its authors ask to cite Krizhevsky, 2009",
        classes: 100,
        images: 60_000,
        repository: None,
        package: Package {
            folder: "cifar-fs".into(),
            archives: vec![Archive { remote, format: Format::TarGz, strip }],
            // The unpacked archive, and a block for each of the images made from it.
            on_disk: 184_440_000 + 60_000 * 4_096,
            limits: Limits { bytes: 200_000_000, entries: 100 },
            required_paths: ["train", "val", "test"].map(Into::into).into(),
        },
    }
}

fn mini_imagenet() -> PublishedDataset {
    PublishedDataset {
        name: "mini-imagenet",
        about: "mini-ImageNet: the 100 classes of Ravi & Larochelle, ICLR 2017, in the size of \
                ImageNet's photographs",
        source: "mini-imagenet",
        page: "https://huggingface.co/datasets/timm/mini-imagenet",
        terms: "ImageNet's: for non-commercial research and education \
                (https://image-net.org/download); the photographs belong to those who took them",
        classes: 100,
        images: 60_000,
        repository: Some("timm/mini-imagenet"),
        package: Package {
            folder: "mini-imagenet".into(),
            archives: Vec::new(),
            on_disk: 7_700_000_000,
            limits: Limits { bytes: 16_000_000_000, entries: 1_000 },
            required_paths: ["train", "val", "test"].map(Into::into).into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_that_were_published() {
        let published = [
            "md5:97eceeb196236b17998738112f37df78",
            "md5:68d2efa1b9178cc56df9314c21c6e718",
            "md5:6b91aef0f799c5bb55b94e3f2daec811",
            "md5:03b5dce01913d631647c71ecec9e9cb8",
        ];
        let all = datasets();
        let archives = all.iter().flat_map(|dataset| &dataset.package.archives);
        let digests: Vec<_> = archives.map(|archive| archive.remote.digest.to_string()).collect();
        assert_eq!(digests, published);
    }

    #[test]
    fn every_mirror_is_asked_over_https_and_every_name_is_a_name() {
        for dataset in datasets() {
            for archive in &dataset.package.archives {
                let Remote { name, mirrors, .. } = &archive.remote;
                assert!(dataset.repository.is_none());
                assert!(!mirrors.is_empty() && !name.contains(['/', '\\']), "{name}");
                for mirror in mirrors {
                    let uri = crate::address::parse(mirror).unwrap();
                    assert_eq!(uri.scheme_str(), Some("https"), "{mirror}");
                }
            }
        }
    }
}
